"""Validates VM records from the database. Every VM may write them; only an invalid record is skipped."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fleet import telemetry
from fleet.model import names
from fleet.model.records import StoredVm

_RECORD = TypeAdapter(StoredVm)
_TIMES = ("created_at", "role_assigned_at", "running_at", "ended_at", "deleted_at")
SHOWN = 10
"""Ordinals in a warning."""


def valid_records(rows: Iterable[tuple[int, Any]]) -> dict[int, StoredVm]:
    """The valid records, by ordinal. Logs a warning for the invalid ones."""
    checked = {ordinal: _checked(ordinal, record) for ordinal, record in rows}
    invalid = sorted(ordinal for ordinal, record in checked.items() if record is None)
    if invalid:
        extra = {"event": "record.invalid"}
        values = len(invalid), ", ".join(map(str, invalid[:SHOWN]))
        telemetry.LOG.warning("Ignored %d invalid VM records: ordinals %s", *values, extra=extra)
    return {ordinal: record for ordinal, record in checked.items() if record is not None}


def time_of(text: str | None) -> datetime | None:
    """A time of a record, in UTC; None if it is empty. Raises ValueError, OverflowError."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _checked(ordinal: int, record: Any) -> StoredVm | None:
    try:
        found = _RECORD.validate_python(record, strict=True)
        for name in _TIMES:
            time_of(record[name])
    except (ValidationError, ValueError, OverflowError):
        return None
    return found if found["ordinal"] == ordinal and 0 <= ordinal < names.ORDINALS else None
