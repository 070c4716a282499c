"""HTTP requests and responses as data, without I/O and without httpx."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from powerlift_fleet.api import json_reader
from powerlift_fleet.api.errors import (
    ApiError,
    AppUnavailable,
    BatchTaken,
    ConfigurationError,
    FleetAmbiguous,
    FleetPurged,
    NotFound,
    RequestRefused,
    TooManyVms,
    Unauthorized,
)

R = TypeVar("R", bound=json_reader.Response)

BATCH_IDS = 2**64
"""Batch IDs are below this: Powerlift draws 64 bits."""

_ERRORS: Mapping[int, type[ApiError]] = {
    400: RequestRefused,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: FleetAmbiguous,
    410: FleetPurged,
    413: RequestRefused,
    429: AppUnavailable,
}
_PERMISSIONS = {"GET": "read fleets", "POST": "plan and submit fleets", "DELETE": "cancel fleets"}
"""By method; a key may open some functions of the app only."""

_MAX_REFERENCE = 100
_QUOTED_CHARACTERS = 300


@dataclass(frozen=True)
class HttpRequest:
    """`path` is relative to the app's /api."""

    method: str
    path: str
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class HttpResponse:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_problem(self) -> bool:
        """Whether the app wrote this error, not the Functions host or a proxy."""
        return "problem+json" in self.headers.get("content-type", "")

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class ConnectionFailure:
    """No response.

    `permanent`: a retry cannot help. `unknown_host`: DNS does not know the name, which is a typo unless
    the name was resolved before.
    """

    reason: str
    permanent: bool = False
    unknown_host: bool = False


class Secret(str):
    """Text that `repr` hides, since tracebacks and notebooks print it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def api_url(url: str) -> str:
    """The base URL, from a URL with or without /api. Raises ConfigurationError."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            "The app's URL must start with https:// (or http://) and contain a host name: "
            "https://my-fleet.azurewebsites.net. Check url or FLEET_URL."
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(
            "The app's URL must not contain ? or #. Pass the key as key, or set FLEET_KEY."
        )
    base = url.rstrip("/")
    return base if base.endswith("/api") else f"{base}/api"


def is_loopback(host: str | None) -> bool:
    """Whether the host of a URL is this machine."""
    host = host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def header_key(key: str) -> str:
    """A function key as a header value. Raises ConfigurationError."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            "The key contains characters that function keys never have. Check key or FLEET_KEY."
        )
    return key


def fleet_segment(fleet: str | int) -> str:
    """A fleet's ID, number, name, `latest` or prefix as a segment of a URL's path.

    The app resolves it. Raises ConfigurationError for text that would change the path.
    """
    text = str(fleet).strip()
    if re.fullmatch("[0-9]+", text):
        text = f"fleet-{text}"  # an ID in this form works while the app's database is unavailable
    unsafe = text in ("", ".", "..") or not text.isprintable() or re.search(r"[/\\]", text)
    if unsafe or isinstance(fleet, bool) or len(text) > _MAX_REFERENCE:
        raise ConfigurationError(
            f"{_shortened(str(fleet), 60)!r} is not a fleet. Use an ID such as fleet-7, a name, or "
            "latest."
        )
    return quote(text, safe="")


def to_json(document: Mapping[str, Any]) -> str:
    """A request body, of JSON's types and numpy's. Raises ConfigurationError, without any value of the
    request."""
    try:
        return json.dumps(dict(document), allow_nan=False, default=_python_value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The request cannot be serialized to JSON: {error}") from None


def without_none(**values: Any) -> dict[str, Any]:
    """The app has defaults for absent fields, and accepts null for some only."""
    return {name: value for name, value in values.items() if value is not None}


def _python_value(value: Any) -> Any:
    """The Python number or bool of a numpy scalar."""
    if not hasattr(value, "item"):
        raise TypeError(f"it contains a {type(value).__name__}")
    return value.item()


def parse(kind: type[R], response: HttpResponse) -> R:
    """The object in a successful response. Raises ApiError."""
    try:
        return json_reader.read(kind, json.loads(response.text))
    except json.JSONDecodeError:
        detail = f"It begins with {_shortened(response.text, 80)!r}. Check FLEET_URL."
    except json_reader.UnreadableResponse as error:
        detail = f"{error}. Check FLEET_URL, and that the client has the app's version."
    raise ApiError(response.status, "The response is not from a fleet app", detail)


def error_from(response: HttpResponse, method: str = "GET") -> ApiError:
    """The exception for an unsuccessful response."""
    kind = _ERRORS.get(response.status, AppUnavailable if response.status >= 500 else ApiError)
    if response.status == 409 and method == "POST":
        kind = BatchTaken
    problem = _problem(response)
    if problem is not None:
        kind = TooManyVms if response.status == 429 else kind
        title = str(problem.get("title") or "The app refused the request")
        faults = [_fault(one) for one in problem.get("errors") or [] if isinstance(one, dict)]
        error = kind(response.status, title, str(problem.get("detail") or ""), faults)
        if isinstance(error, NotFound):
            error.advice = ""  # the app says what does not exist: no setting is wrong
        return error
    title, detail = _describe(response, method)
    return kind(response.status, title, detail)


def _problem(response: HttpResponse) -> dict[str, Any] | None:
    if not response.is_problem:
        return None
    try:
        problem = json.loads(response.text)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) else None


def _fault(one: Mapping[str, Any]) -> dict[str, str]:
    return {"pointer": str(one.get("pointer", "")), "detail": str(one.get("detail", ""))}


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _describe(response: HttpResponse, method: str) -> tuple[str, str]:
    """Title and detail of an error that the Functions host or a proxy wrote."""
    text = _shortened(" ".join(response.text.split()), _QUOTED_CHARACTERS)
    match response.status:
        case 401 | 403:
            may = _PERMISSIONS.get(method, "do this")
            return "The app rejected the key", f"The call needs a key that may {may}."
        case 404:
            return "Not found", "The URL may not be that of a fleet app."
        case 429:
            return "The app is overloaded", text
        case status if 300 <= status < 400:
            target = response.headers.get("location", "another URL").partition("?")[0]
            return "The app redirects", f"Set FLEET_URL to the app that {target} belongs to."
        case _:
            return "The app failed", text
