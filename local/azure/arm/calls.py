"""What the server and the providers exchange: requests, calls, replies and routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.azure.arm.resources import Target
from local.azure.identity.directory import Principal


@dataclass
class ResponseEffects:
    """What the router and the interceptor note about a request, be its response a reply or an error."""

    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    """Close the connection instead of responding."""
    cut: int | None = None
    """Close the connection after so many bytes of the body."""
    garbled: str | None = None
    """A key of `corrupted_response.GARBLED`, to respond with instead."""
    fault: int | None = None
    """Index of the fault that fired last, for the wire log."""
    demanded: list[tuple[str, str]] = field(default_factory=list)
    """(scope, action) of the permissions that the request required, for the wire log."""

    @property
    def is_corrupted(self) -> bool:
        """Whether the client does not get the response that the request has."""
        return self.lost or self.cut is not None or self.garbled is not None


@dataclass(frozen=True)
class Request:
    """One HTTP request with its whole body."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Keys are in lower case."""
    body: Any
    """Parsed JSON or form fields; None without a body."""
    malformed: str | None
    """Why the body could not be parsed, or None."""
    base: str
    """`https://host:port` as the client sent it; links in responses start with it."""
    effects: ResponseEffects = field(default_factory=ResponseEffects)


@dataclass
class Reply:
    """A response. `body` is sent as JSON, bytes as they are; None sends no body."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    principal: str | None = None
    """Object id of the caller, for the wire log."""


@dataclass(frozen=True)
class Call:
    """An authenticated request on a known route."""

    request: Request
    target: Target
    principal: Principal

    @property
    def api_version(self) -> str:
        """The date alone, also for previews."""
        return self.request.query["api-version"][:10]


@dataclass(frozen=True)
class Route:
    """One operation. `type` is spelled as in the names of RBAC actions."""

    method: str
    type: str
    handler: Callable[[Call], Awaitable[Reply]]
    collection: bool = False
    open: bool = False
    """Requires a valid token, but no role."""

    @property
    def key(self) -> tuple[str, str, bool]:
        """The router's lookup key."""
        return self.method, self.type.lower(), self.collection

    @property
    def action(self) -> str:
        """The RBAC action, such as `Microsoft.Compute/virtualMachines/write`."""
        verbs = {"PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}
        verb = verbs.get(self.method, "read")
        type_ = self.type if "." in self.type.split("/")[0] else f"Microsoft.Resources/{self.type}"
        return f"{type_}/{verb}"
