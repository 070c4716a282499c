"""The fields of a log record: bound once for all that an activity or a trigger does, and told with
each record.

As attributes of the record they become custom dimensions wherever OpenTelemetry takes the logs. The
Functions host by itself passes on the text alone, so they stand at its end too:
`… [event=vm.running fleet=fleet-7 ordinal=3]`, a text with spaces in double quotes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

FIELDS = {
    "event": "what has happened, in one word; the same in every release",
    "fleet": "the fleet's id",
    "activity": "the function that was at work",
    "phase": "of the fleet, where it has ended",
    "ordinal": "of the VM",
    "attempt": "1 for the first VM of a line of replacements",
    "placement": "of the VM, as the API labels it",
    "code": "of what went wrong, as in docs/failures.md",
}
"""Their meaning, in the order in which the text has them."""

LOG = logging.getLogger("powerlift.fleet")
"""The app's only logger. `extra={...}` adds fields to those that are bound."""

_bound: ContextVar[Mapping[str, Any]] = ContextVar("powerlift_log_fields", default={})  # noqa: B039 - never changed in place


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Bind fields for every record until the end of the block, also of what is awaited in it.

    None leaves a field as it is.
    """
    told = {name: value for name, value in fields.items() if value is not None}
    token = _bound.set({**_bound.get(), **told})
    try:
        yield
    finally:
        _bound.reset(token)


def _annotate(record: logging.LogRecord) -> bool:
    """A logging filter that lets everything through, with its fields."""
    vars(record).update({**_bound.get(), **_own(record)})
    told = " ".join(f"{name}={_quoted(value)}" for name, value in _own(record).items())
    if told:
        # The message is a template as long as it has arguments.
        record.msg = f"{record.msg} [{told.replace('%', '%%') if record.args else told}]"
    return True


def _own(record: logging.LogRecord) -> dict[str, Any]:
    """The fields that a record has, in their order."""
    return {name: vars(record)[name] for name in FIELDS if name in vars(record)}


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text


LOG.addFilter(_annotate)
