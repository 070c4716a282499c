"""Redacts secrets in a rejected request and keeps all other bytes.

The request may be invalid JSON or UTF-8, so secrets are found by pattern, at any depth. If the end of a
secret is ambiguous, the longer match is redacted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
    \b (?: [-a-z_]{{0,40}} (?:secret|passw(?:or)?d|pwd|token|credential) [-a-z_ ?]{{0,20}}
      | (?P<uri>[a-z_]*uri) )
        ["'{_QUOTE}]? \s* [:=] \s* {_VALUE}
  | (?P<url>://[^\s"{_QUOTE}]*)
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_USER = re.compile(r"(?>.*?://)?+[^:]*:(.*)@", re.DOTALL)
"""The password ends at the last @, because it may contain an unencoded @."""
_OPTION = re.compile(r"password\s*=\s*('[^']*|[^\s&]+)", re.IGNORECASE | re.ASCII)


def redacted(body: bytes) -> bytes:
    """The body with `***` in place of URI passwords, and of values whose names suggest a secret."""
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
