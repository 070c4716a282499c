"""The HTTP API as data: what is sent, and what an answer means. No I/O, and nothing of httpx."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from powerlift_fleet.api.errors import (
    ApiError,
    AppUnavailable,
    BatchTaken,
    ConfigurationError,
    NotFound,
    RequestRefused,
    Unauthorized,
)

TERMINAL = frozenset({"done", "cancelled", "failed"})
"""Phases that no fleet leaves."""

_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: RequestRefused,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: BatchTaken,
    413: RequestRefused,
    429: AppUnavailable,
}
_FLEET = re.compile(r"(?:fleet-)?(0|[1-9][0-9]{0,18})")
_LONGEST = 300
"""Characters of an answer that is not the app's which a message repeats."""


@dataclass(frozen=True)
class Call:
    """One request; `path` is below the app's /api."""

    method: str
    path: str
    body: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Answer:
    """One response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_problem(self) -> bool:
        """Whether the app itself wrote this refusal, and not the host or a proxy before it."""
        return "problem+json" in self.headers.get("content-type", "")

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Silence:
    """No response. `final`: asking again cannot help. `nameless`: the host's name is not known here,
    which is a slip of the pen, or passes where the host was known before."""

    reason: str
    final: bool = False
    nameless: bool = False


class Secret(str):
    """Text that `repr` does not show: tracebacks and notebooks print that."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def api_url(url: str) -> str:
    """The base of all paths, from a URL with or without /api. Raises ConfigurationError."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            "The app's URL must start with https:// (or http://) and name a host, as "
            "https://my-fleet.azurewebsites.net. Check url, or FLEET_URL."
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(
            "The app's URL must end before any ? or #. Give the key as key, or FLEET_KEY."
        )
    base = url.rstrip("/")
    return base if base.endswith("/api") else f"{base}/api"


def header_key(key: str) -> str:
    """A function key as a header's value. Raises ConfigurationError."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            "The key holds characters that no function key has. Copy it again to key, or FLEET_KEY."
        )
    return key


def fleet_id(fleet: str | int) -> str:
    """A fleet's id, from "fleet-7", "7" or 7. Raises ConfigurationError."""
    match = _FLEET.fullmatch(str(fleet).strip())
    if match is None or isinstance(fleet, bool):
        raise ConfigurationError(
            f"{str(fleet)[:60]!r} is no fleet's id. Ids are fleet-7, or 7 for short."
        )
    return f"fleet-{match[1]}"


def as_json(document: Mapping[str, Any]) -> str:
    """A request's body. Raises ConfigurationError; no value is repeated in it."""
    try:
        return json.dumps(dict(document), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The request cannot be written as JSON: {error}") from None


def document_in(answer: Answer) -> dict[str, Any]:
    """What a successful answer holds. Raises ApiError when it is not the app's."""
    try:
        document = json.loads(answer.text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ApiError(
            answer.status,
            "This is not the app's answer",
            f"It begins: {answer.text[:80]!r}. Check FLEET_URL.",
        )
    return document


def refusal(answer: Answer) -> ApiError:
    """The error that an unsuccessful answer is."""
    kind = _BY_STATUS.get(answer.status, AppUnavailable if answer.status >= 500 else ApiError)
    problem = _problem(answer)
    if problem is not None:
        title = str(problem.get("title") or "The app refused")
        faults = [_fault(one) for one in problem.get("errors") or [] if isinstance(one, dict)]
        return kind(answer.status, title, str(problem.get("detail") or ""), faults)
    title, detail = _unexplained(answer)
    return kind(answer.status, title, detail)


def _problem(answer: Answer) -> dict[str, Any] | None:
    if not answer.is_problem:
        return None
    try:
        problem = json.loads(answer.text)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) else None


def _fault(one: Mapping[str, Any]) -> dict[str, str]:
    return {"pointer": str(one.get("pointer", "")), "detail": str(one.get("detail", ""))}


def _unexplained(answer: Answer) -> tuple[str, str]:
    """Title and detail of a refusal that the host, or something before it, wrote."""
    text = " ".join(answer.text.split())[:_LONGEST]
    match answer.status:
        case 401 | 403:
            return "The app does not take the key", ""
        case 404:
            return "There is no such page", "It may be that no fleet app answers at this URL."
        case 429:
            return "The app has too much to do", text
        case status if 300 <= status < 400:
            target = answer.headers.get("location", "elsewhere").partition("?")[0]
            return (
                "The app is somewhere else",
                f"It sends us to {target}: set FLEET_URL to that app.",
            )
        case _:
            return "The app could not answer", text
