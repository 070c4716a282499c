"""Route templates of HTTP functions: `machines/{id}`, `runs/{n:int?}`, `files/{*path}`.

`{x:maxlength(0)?}` matches the prefix alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote

from local.functions.indexing import Function, IndexingError


def _is_int(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d{1,10}", text)) and -(2**31) <= int(text) < 2**31


@dataclass(frozen=True)
class _Segment:
    """One segment of a template."""

    name: str
    literal: bool = False
    constraint: Callable[[str], bool] | None = None
    optional: bool = False
    rest: bool = False

    def accepts(self, text: str) -> bool:
        """Whether a path segment matches. Literals are case-insensitive, as in the host."""
        if self.literal:
            return text.lower() == self.name.lower()
        return bool(text) and (self.constraint is None or self.constraint(text))


@dataclass(frozen=True)
class Route:
    """A function, its template, and its methods (none means all)."""

    function: Function
    segments: tuple[_Segment, ...]
    methods: frozenset[str]

    def match(self, parts: Sequence[str]) -> dict[str, str] | None:
        """The route's parameters if the path `parts` match, otherwise None."""
        values = {}
        for i, segment in enumerate(self.segments):
            if segment.rest:
                values[segment.name] = "/".join(parts[i:])
                return values
            if i == len(parts):
                return values if segment.optional else None
            if not segment.accepts(parts[i]):
                return None
            if not segment.literal:
                values[segment.name] = parts[i]
        return values if len(parts) == len(self.segments) else None


class Router:
    """Finds the HTTP function for a request below `prefix`.

    As in the real host, the first match in the order of function names wins; a literal segment has
    no precedence over a parameter.
    """

    def __init__(self, functions: Iterable[Function], prefix: str) -> None:
        self._prefix = [part.lower() for part in prefix.split("/") if part]
        http = [f for f in functions if f.kind == "httpTrigger"]
        self._routes = [_route(f) for f in sorted(http, key=lambda f: f.name.upper())]

    def find(self, method: str, parts: Sequence[str]) -> tuple[Function, dict[str, str]] | None:
        """The function for `method` and a path's `parts`, with the route's parameters, or None.

        Like ASP.NET Core's router in the host, does not distinguish an unknown path from a known one
        with another method.
        """
        size = len(self._prefix)
        if [part.lower() for part in parts[:size]] != self._prefix:
            return None
        for route in self._routes:
            if route.methods and method not in route.methods:
                continue
            if (values := route.match(parts[size:])) is not None:
                return route.function, values
        return None


def split_path(raw: str) -> list[str]:
    """The parts of an encoded path, decoded as in Kestrel: `%2F` and invalid UTF-8 stay encoded, dot
    segments are resolved, and one trailing slash is ignored."""
    text = unquote(re.sub("%(?=2[fF])", "%25", raw), errors="surrogateescape")
    text = re.sub(r"[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", text)
    parts: list[str] = []
    for part in text.removeprefix("/").removesuffix("/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    return [] if parts == [""] else parts


def _route(function: Function) -> Route:
    template = str(function.trigger.get("route") or function.name).strip("/")
    methods = frozenset(str(m).upper() for m in function.trigger.get("methods") or ())
    segments = tuple(_segment(function.name, part) for part in template.split("/") if part)
    return Route(function, segments, methods)


def _segment(function: str, part: str) -> _Segment:
    match = re.fullmatch(r"\{(\*{0,2})(\w+)(?::(\w+)(?:\((\d+)\))?)?(\?)?\}", part)
    if match is None:
        if "{" in part or "}" in part:
            raise IndexingError(f"function '{function}': route part '{part}' is not supported")
        return _Segment(part, literal=True)
    stars, name, kind, argument, optional = match.groups()
    constraint: Callable[[str], bool] | None = None
    if (kind, argument) == ("int", None):
        constraint = _is_int
    elif kind == "maxlength" and argument is not None:
        constraint = partial(_has_at_most, int(argument))
    elif kind:
        raise IndexingError(
            f"function '{function}': route constraint '{kind}' is not supported; "
            "these are: int, maxlength(n)"
        )
    return _Segment(name, False, constraint, bool(optional), bool(stars))


def _has_at_most(characters: int, text: str) -> bool:
    return len(text) <= characters
