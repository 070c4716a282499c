"""What passes between the server and the rooms: requests, calls on resources, replies, routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.azure.arm.resources import Target
from local.azure.identity.directory import Principal


@dataclass
class Marks:
    """What the gate wants of the answer to a request, whether that is a reply or an error."""

    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    """The connection ends in place of the answer."""
    fault: int | None = None
    """Index of the fault of the weather plan that struck last, for the wire log."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, read whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any
    """Parsed JSON or form fields; None when there is no body."""
    malformed: str | None
    """Why the body could not be parsed."""
    base: str
    """`https://host:port` as the client addressed us; links must lead back the same way."""
    marks: Marks = field(default_factory=Marks)


@dataclass
class Reply:
    """An answer. `body` None sends none, bytes are sent as they are, and anything else as JSON."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    principal: str | None = None
    """Object id of the caller, for the wire log."""


@dataclass(frozen=True)
class Call:
    """A request by a known principal on a known route."""

    request: Request
    target: Target
    principal: Principal

    @property
    def api_version(self) -> str:
        """The date alone: previews count as their date."""
        return self.request.query["api-version"][:10]


@dataclass(frozen=True)
class Route:
    """One operation of the cloud. `type` is written as ARM writes it in the names of actions."""

    method: str
    type: str
    handler: Callable[[Call], Awaitable[Reply]]
    collection: bool = False
    open: bool = False
    """Needs a valid token, but no role."""

    @property
    def key(self) -> tuple[str, str, bool]:
        """How the router finds it."""
        return self.method, self.type.lower(), self.collection

    @property
    def action(self) -> str:
        """What a role must allow, such as `Microsoft.Compute/virtualMachines/write`."""
        verbs = {"PUT": "write", "DELETE": "delete", "POST": "action"}
        verb = verbs.get(self.method, "read")
        type_ = self.type if "." in self.type.split("/")[0] else f"Microsoft.Resources/{self.type}"
        return f"{type_}/{verb}"
