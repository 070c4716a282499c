"""Redacts secrets in a rejected request and keeps all other bytes.

The request may be invalid JSON or UTF-8, so secrets are found by pattern, at any depth. If the end of a
secret is ambiguous, the longer match is redacted. In valid JSON, the values of unknown members are
redacted too: a misspelled name may hide a secret from the patterns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fleet.api.request import AzureJson, Fallback, FleetRequest

HIDDEN = b"***"

_QUOTE = "\ue000"
"""Replaces an escaped quote, which does not end its string."""
_UNIT = re.compile(rb"\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': _QUOTE, "'": _QUOTE}

_VALUE = rf"""(?:
    "(?P<double>[^"]*)
  | '(?P<single>[^']*)
  | {_QUOTE}(?P<inner>(?:\\{_QUOTE}|[^{_QUOTE}"])*)
  | (?(uri) (?P<word>[^\s"'{_QUOTE}]+)
    | (?!null\b)(?P<bare>[\[{{][^\]}}]* | [^\s,&\]}}"'{_QUOTE}]+))
)"""
_SECRET = re.compile(
    rf"""
    \b (?: [a-z_]*(?:client[_-]?secret|password) | (?P<uri>[a-z_]*uri) )
        ["'{_QUOTE}]? \s* [:=] \s* {_VALUE}
  | (?P<url>://[^\s"{_QUOTE}]*)
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_USER = re.compile(r"(?>.*?://)?+[^:]*:(.*)@", re.DOTALL)
"""The password ends at the last @, because it may contain an unencoded @."""
_OPTION = re.compile(r"password\s*=\s*('[^']*|[^\s&]+)", re.IGNORECASE | re.ASCII)


_OBJECTS = {"azure_json": AzureJson.model_fields, "fallbacks": Fallback.model_fields, "tags": None}
"""The members of a request that contain objects, and the members of these; None: any."""


def redacted_request(body: bytes) -> bytes:
    """The request without secrets (see `redacted`), and without the values of unknown members."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return redacted(body)
    known = _known(document, FleetRequest.model_fields)
    return redacted(body if known == document else json.dumps(known).encode())


def _known(document: Any, members: Mapping[str, Any] | None) -> Any:
    """The JSON object with `***` in place of the values of unknown members."""
    if not isinstance(document, dict):
        return HIDDEN.decode()
    return {
        name: _known_value(name, value) if members is None or name in members else HIDDEN.decode()
        for name, value in document.items()
    }


def _known_value(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_known_value(name, one) for one in value]
    return _known(value, _OBJECTS.get(name, {})) if isinstance(value, dict) else value


def redacted(body: bytes) -> bytes:
    """The body with `***` in place of client secrets, URI passwords and values named password."""
    text, offsets = _read(body)
    parts, done = [], 0
    for start, end in sorted(_spans(text)):
        begin = max(offsets[start], done)
        if begin < offsets[end]:
            parts += [body[done:begin], HIDDEN]
            done = offsets[end]
    return b"".join([*parts, body[done:]])


def _read(body: bytes) -> tuple[str, list[int]]:
    """The body's characters with JSON escapes decoded, and the byte offset of each.

    Treats each byte as a character and skips NULs, which also handles UTF-16.
    """
    kept = [index for index, byte in enumerate(body) if byte]
    text, offsets = [], []
    for unit in _UNIT.finditer(bytes(body[index] for index in kept)):
        written = unit[0].decode("latin-1")
        if len(written) == 6:
            written = chr(int(written[2:], 16))
            written = _QUOTE if written in "\"'" else written
        elif len(written) == 2:
            written = _ESCAPES.get(written[1], written[1])
        text.append(written)
        offsets.append(kept[unit.start()])
    return "".join(text), [*offsets, len(body)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each secret."""
    for found in _SECRET.finditer(text):
        value = found.span(found.lastgroup or 0)
        if found["uri"] is None and found["url"] is None:
            yield value
            continue
        if user := _USER.match(text, *value):
            yield user.span(1)
        yield from (option.span(1) for option in _OPTION.finditer(text, *value))
