"""Context fields of log records, bound for the duration of an activity or a trigger.

As record attributes they become custom dimensions in OpenTelemetry. The Functions host forwards only the
message, so it also ends with the fields: `… [event=vm.running fleet=fleet-7 ordinal=3]`. Values with
spaces are quoted.

A message may contain text from outside: requests, databases, Azure. Each record is one line, and only
its fields look like fields (`as_plain_line`), so that no text can pose as another record or event.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from traceback import extract_tb
from types import TracebackType
from typing import Any

FIELDS = {
    "event": "the kind of event; stable across releases",
    "fleet": "the fleet's ID",
    "activity": "the activity function",
    "phase": "the fleet's final phase",
    "ordinal": "the VM's ordinal",
    "attempt": "1 for an initial VM, higher for replacements",
    "placement": "the VM's placement, as labelled in the API",
    "code": "the failure code, as in docs/failures.md",
}
"""Descriptions, in the order of the fields in a message."""

LOG = logging.getLogger("powerlift.fleet")
"""The app's only logger. `extra={...}` adds to the bound fields."""

_bound: ContextVar[Mapping[str, Any]] = ContextVar("powerlift_log_fields", default={})  # noqa: B039 - never changed in place


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Bind fields for all records within the block, including awaited calls. None is ignored."""
    given = {name: value for name, value in fields.items() if value is not None}
    token = _bound.set({**_bound.get(), **given})
    try:
        yield
    finally:
        _bound.reset(token)


def as_plain_line(text: str) -> str:
    r"""Text without what could forge a line or a field: `\n` for a line break, `event\x3d` for `event=`.

    Terminals, files and log viewers break lines at different characters, and obey escape sequences and
    the order of right-to-left text.
    """
    return _FIELD.sub(r"\1\\x3d", _UNSAFE.sub(_escape, text))


def frames(trace: TracebackType | None) -> str:
    """A traceback in one line, without the error's message: `http/fleets.py:58 plan > …`."""
    return " > ".join(
        f"{'/'.join(Path(one.filename).parts[-2:])}:{one.lineno} {one.name}"
        for one in extract_tb(trace)
    )


_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line and paragraph separators, the controls of text direction, lone surrogates."""
_FIELD = re.compile(rf"\b({'|'.join(FIELDS)})=", re.IGNORECASE)


def _escape(unsafe: re.Match[str]) -> str:
    return unsafe[0].encode("unicode_escape").decode()


def _annotate(record: logging.LogRecord) -> bool:
    """A logging filter that adds the fields, and accepts every record."""
    vars(record).update({**_bound.get(), **_own(record)})
    text = record.getMessage()
    if record.exc_info:
        # Not as handlers do it: they add the message, with its line breaks, on lines of its own.
        kind, error, trace = record.exc_info
        text = f"{text}: {kind and kind.__name__}: {error} at {frames(trace)}"
        record.exc_info = None
    suffix = " ".join(f"{name}={_quoted(value)}" for name, value in _own(record).items())
    record.msg = as_plain_line(text) + (f" [{suffix}]" if suffix else "")
    record.args = None
    return True


def _own(record: logging.LogRecord) -> dict[str, Any]:
    """A record's fields, in the order of FIELDS."""
    return {name: vars(record)[name] for name in FIELDS if name in vars(record)}


def _quoted(value: Any) -> str:
    text = as_plain_line(str(value)).replace('"', "'")
    return f'"{text}"' if re.search(r"[ \]]", text) else text


LOG.addFilter(_annotate)
