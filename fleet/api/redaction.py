"""A refused request without its secrets, every other byte as it was sent.

It may be no JSON, and no UTF-8: secrets are found by how they are written, at any depth. Where it is not
clear where one ends, more is hidden rather than less.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

HIDDEN = b"***"

_QUOTE = "\ue000"
"""Stands for an escaped quote: it does not end the string that it is in."""
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
"""The last @ ends the password: one that should be %40 may be in it."""
_OPTION = re.compile(r"password\s*=\s*('[^']*|[^\s&]+)", re.IGNORECASE | re.ASCII)


def redacted(body: bytes) -> bytes:
    """The body with `***` for each client secret, and for each password: of a URI, or by that name."""
    text, offsets = _read(body)
    parts, done = [], 0
    for start, end in sorted(_spans(text)):
        begin = max(offsets[start], done)
        if begin < offsets[end]:
            parts += [body[done:begin], HIDDEN]
            done = offsets[end]
    return b"".join([*parts, body[done:]])


def _read(body: bytes) -> tuple[str, list[int]]:
    """The body as characters, JSON's escapes undone, and where in the body each begins.

    A byte is a character, and NUL is none: so UTF-16 is read as well.
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
    """Where secrets begin and end."""
    for found in _SECRET.finditer(text):
        value = found.span(found.lastgroup or 0)
        if found["uri"] is None and found["url"] is None:
            yield value
            continue
        if user := _USER.match(text, *value):
            yield user.span(1)
        yield from (option.span(1) for option in _OPTION.finditer(text, *value))
