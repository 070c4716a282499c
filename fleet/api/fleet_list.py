"""The list of fleets: its query parameters, its pages, and a fleet's entry."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from fleet import telemetry
from fleet.api.instance_status import outcome
from fleet.api.request import InvalidQuery
from fleet.api.responses.common import Links, json_id, json_time
from fleet.api.responses.fleets import FleetListEntry, Phase
from fleet.model import names
from fleet.store.fleets import Filter, Row

MAX_LIMIT = 200
STATUSES = ("active", "ended", *get_args(Phase))
SORTS = ("newest", "oldest")


def read_query(query: Mapping[str, str]) -> Filter:
    """Read the filter of a request; ignores other parameters. Raises InvalidQuery with every fault."""
    faults: list[str] = []

    def choice(name: str, choices: tuple[str, ...], default: str | None) -> str | None:
        value = query.get(name, default)
        if value is not None and value not in choices:
            faults.append(f"{name} must be one of {', '.join(choices)}.")
        return value

    limit, since, after = 50, None, None
    if "limit" in query:
        text = query["limit"]
        limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
        if not 1 <= limit <= MAX_LIMIT:
            faults.append(f"limit must be a number from 1 to {MAX_LIMIT}.")
    try:
        since = _time(query["since"]) if "since" in query else None
    except ValueError:
        faults.append("since must be an ISO 8601 time, such as 2026-03-01T12:00:00Z.")
    try:
        after = _decoded(query["cursor"]) if query.get("cursor") else None
    except ValueError:
        faults.append("cursor must be the `next` of an earlier response.")
    faults += [
        f"{name} must not contain control characters."
        for name in ("experiment", "submitted_by")
        if re.search(r"[\x00-\x1f\x7f]", query.get(name, ""))
    ]
    status = choice("status", STATUSES, None)
    sort = choice("sort", SORTS, "newest")
    if faults:
        raise InvalidQuery(faults)
    return Filter(
        status=status,
        experiment=query.get("experiment"),
        submitted_by=query.get("submitted_by"),
        since=since,
        sort="oldest" if sort == "oldest" else "newest",
        limit=limit,
        after=after,
    )


def cursor(row: Row) -> str:
    """The cursor of the page after a row."""
    text = f"{row.submitted_at.isoformat()} {row.batch_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def entry(row: Row, links: Links) -> FleetListEntry | None:
    """A fleet's entry in the list; None, and a warning, if its row is invalid."""
    try:
        found = _ENTRY.validate_python(_shown(row, links))
    except (ValidationError, AttributeError, TypeError):  # an invalid time, or counts without names
        extra = {"event": "record.invalid", "fleet": names.instance_id(row.batch_id)}
        telemetry.LOG.warning("Ignored an invalid row in powerlift_fleet", extra=extra)
        return None
    return found


_ABSENT = {"pending": 0, "creating": 0, "refused": 0}
"""What the rows of an earlier build lack."""
_ENTRY = TypeAdapter(FleetListEntry)


def _shown(row: Row, links: Links) -> dict[str, Any]:
    return {
        "id": names.instance_id(row.batch_id),
        "number": row.number,
        "name": row.name,
        "batch_id": json_id(row.batch_id),
        "experiment_id": row.experiment_id,
        "experiment_name": row.experiment_name,
        "submitted_by": row.submitted_by,
        "phase": row.phase,
        "outcome": outcome(row.phase, row.trials),
        "machines": row.machines and {**_ABSENT, **row.machines},
        "trials": row.trials,
        "cost": row.cost if row.cost is not None and math.isfinite(row.cost) else None,
        "created_at": json_time(row.submitted_at),
        "updated_at": json_time(row.updated_at),
        "ended_at": json_time(row.ended_at) if row.ended_at else None,
        "purged_at": json_time(row.purged_at) if row.purged_at else None,
        "links": links,
    }


def _decoded(text: str) -> tuple[datetime, int]:
    """Raises ValueError."""
    try:
        padded = text.encode() + b"=" * (-len(text) % 4)
        at, batch_id = base64.urlsafe_b64decode(padded).decode().split(" ")
    except (binascii.Error, UnicodeError) as error:
        raise ValueError(text) from error
    return _time(at), int(batch_id)


def _time(text: str) -> datetime:
    """In UTC, because PostgreSQL rejects some offsets that Python accepts. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(text) from error
