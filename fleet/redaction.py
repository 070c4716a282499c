"""Redaction of secrets in text of unknown origin: console logs and trial errors."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

LONGEST_SECRET = 2048
"""Characters: those of a database URI."""

_LINE_END, _BLANK = re.compile(r"[\n\r]"), re.compile(r"\s")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_ESCAPES = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with `***` for each secret, literal or percent-encoded, completely or in part.

    Takes linear time for any text.
    """
    data = text.encode(errors="surrogatepass")
    for secret in secrets:
        data = b"".join(_parts(data, secret.encode(errors="surrogatepass")))
    return data.decode(errors="surrogatepass")


def after_cut(text: str) -> str:
    """A text that was cut off at its beginning, from its next line, or its next word if that is far.

    What is left of a secret at the cut cannot be recognised.
    """
    head = text[:LONGEST_SECRET]
    end = _LINE_END.search(head) or _BLANK.search(head)
    return text[end.end() if end else LONGEST_SECRET :]


def _parts(data: bytes, secret: bytes) -> Iterator[bytes]:
    """The data between occurrences of the secret, and the stars for these."""
    # A password may itself contain what looks like percent-encoding.
    forms = {_plain(secret), secret.replace(b"+", b" ")} - {b""}
    plain = _plain(data)
    spans = sorted(span for form in forms for span in _spans(plain, form))
    # An escape's three bytes are one in the plain text.
    escapes = [
        found.start() - 2 * n for n, found in enumerate(_ESCAPE.finditer(data if spans else b""))
    ]
    done = 0
    for start, end in spans:
        first, last = (at + 2 * bisect_left(escapes, at) for at in (start, end))
        if first >= done:
            yield data[done:first]
            yield b"***"
        done = max(done, last)
    yield data[done:]


def _plain(data: bytes) -> bytes:
    """The data without a URI's escapes. In its query a plus is a space."""
    decoded = _ESCAPES.sub(lambda found: bytes.fromhex(found[0].replace(b"%", b"").decode()), data)
    return decoded.replace(b"+", b" ")


def _spans(data: bytes, part: bytes) -> Iterator[tuple[int, int]]:
    start = data.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = data.find(part, start + len(part))
