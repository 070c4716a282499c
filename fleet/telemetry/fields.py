"""Context fields of log records, bound for the duration of an activity or a trigger.

As record attributes they become custom dimensions in OpenTelemetry. The Functions host forwards only the
message, so it also ends with the fields: `… [event=vm.running fleet=fleet-7 ordinal=3]`. Values with
spaces are quoted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
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


def _annotate(record: logging.LogRecord) -> bool:
    """A logging filter that adds the fields and accepts every record."""
    vars(record).update({**_bound.get(), **_own(record)})
    suffix = " ".join(f"{name}={_quoted(value)}" for name, value in _own(record).items())
    if suffix:
        # With arguments, the message is a template in which % must be escaped.
        record.msg = f"{record.msg} [{suffix.replace('%', '%%') if record.args else suffix}]"
    return True


def _own(record: logging.LogRecord) -> dict[str, Any]:
    """A record's fields, in the order of FIELDS."""
    return {name: vars(record)[name] for name in FIELDS if name in vars(record)}


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text


LOG.addFilter(_annotate)
