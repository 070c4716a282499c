"""Rows of `powerlift_fleet`, once their fleet has started: list, search, update, purge.

A row is never deleted after the start. Other records of a fleet are in the task hub and in the
benchmark's database, until they are purged. `claims` inserts the rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypedDict

from fleet.model.records import Reason, Trials, VmCounts
from fleet.store import schema
from fleet.store.database import brief_transaction, rows, small_json, transaction

SHORTEST_PREFIX = 4
"""Minimum number of digits in an abbreviated batch ID."""
LONGEST_REQUEST = 1_000_000
"""Characters; the body of a request is no longer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fleet. `machines` and `trials` are counts, as in the API; None before the first update."""

    batch_id: int
    number: int
    name: str | None
    submitted_by: str
    experiment_id: int
    experiment_name: str | None
    n_instances: int
    submitted_at: datetime
    started_at: datetime
    ended_at: datetime | None
    purged_at: datetime | None
    phase: str
    machines: dict[str, int] | None
    trials: dict[str, int] | None
    cost: float | None
    updated_at: datetime


class Changes(TypedDict, total=False):
    """Columns that a running fleet updates."""

    phase: str
    machines: VmCounts
    trials: Trials | None
    cost: float | None
    """US dollars."""
    experiment_name: str | None
    reason: Reason | None
    ended_at: datetime | str
    """A text is an ISO 8601 time."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects the fleets that match every member that is set."""

    status: str | None = None
    """A phase, or `active` or `ended`."""
    experiment: str | None = None
    """An experiment's id or name."""
    submitted_by: str | None = None
    """As in `Row.submitted_by`."""
    since: datetime | None = None
    sort: Literal["newest", "oldest"] = "newest"
    limit: int = 50
    after: tuple[datetime, int] | None = None
    """Time of submission and batch ID of the previous page's last fleet."""


def page(uri: str, wanted: Filter) -> list[Row]:
    """Started fleets, in the order of their submission. Raises DatabaseUnreachable."""
    newest = wanted.sort == "newest"
    at, batch_id = wanted.after or (None, None)
    values = {**asdict(wanted), "at": at, "batch_id": batch_id}
    statement = _PAGE.format(then="<" if newest else ">", order="DESC" if newest else "ASC")
    return _select(uri, statement, values)


def matching(uri: str, reference: str) -> list[Row]:
    """The fleets that a reference matches: one, none, or several if it is ambiguous.

    A reference is `latest`; a batch ID, a number or a prefix of a batch ID, with or without `fleet-`; a
    name or a prefix of one. An exact match takes precedence over prefixes. Of fleets with the same name,
    the running one takes precedence, then the newest. Raises DatabaseUnreachable.
    """
    if reference == "latest":
        return _select(uri, _LATEST, {})
    digits = reference.removeprefix("fleet-")
    if re.fullmatch("0|[1-9][0-9]{0,19}", digits):
        values = {"exact": int(digits), "prefix": digits if len(digits) >= SHORTEST_PREFIX else ""}
        found = _select(uri, _BY_NUMBER, values)
        exact = [row for row in found if int(digits) in (row.batch_id, row.number)]
        return exact or found
    if not re.fullmatch("[-a-z0-9]{1,63}", reference):
        return []
    found = _select(uri, _BY_NAME, {"name": reference})
    newest: dict[str | None, Row] = {}
    for row in found:
        newest.setdefault(row.name, row)
    return [newest[reference]] if reference in newest else list(newest.values())


def update(uri: str, batch_id: int, changes: Changes) -> None:
    """Change columns of a fleet's row, unless the fleet has ended. Raises DatabaseUnreachable."""
    values = {
        name: json.dumps(value) if isinstance(value, Mapping) else value
        for name, value in changes.items()
    }
    columns = ", ".join(f"{name} = %({name})s" for name in values)
    # Short timeouts, because a fleet waits for it.
    with brief_transaction(uri) as cursor:
        cursor.execute(_UPDATE.format(columns=columns), {**values, "fleet": batch_id})


def leave_experiment(uri: str, batch_id: int) -> bool:
    """Record that a fleet is in teardown. Returns whether it was the last to run its experiment.

    Of fleets that leave at the same time, at least one is the last. Raises DatabaseUnreachable.
    """
    # In a transaction of its own: the others must see it.
    update(uri, batch_id, {"phase": "teardown"})
    with brief_transaction(uri) as cursor:
        return not rows(cursor, _RUNS_TOO, {"fleet": batch_id})


def saved_request(uri: str, batch_id: int) -> tuple[str | None, str | None]:
    """A fleet's request as JSON, and its signature; None for a fleet of an earlier build.

    Raises DatabaseUnreachable.
    """
    schema.prepare(uri)
    with brief_transaction(uri) as cursor:
        found = rows(cursor, _SAVED_REQUEST, {"fleet": batch_id, "longest": LONGEST_REQUEST})
    return found[0] if found else (None, None)


def active(uri: str, owner: str) -> list[Row]:
    """A deployment's fleets that have not ended, the oldest first. Raises DatabaseUnreachable."""
    return _select(uri, _ACTIVE, {"owner": owner})


def accounts(uri: str, owner: str) -> list[tuple[int, list[str]]]:
    """The accounts of a deployment's unpurged fleets: for each, the batch ID of its newest fleet, and
    the resource_uris of all its fleets. Raises DatabaseUnreachable."""
    schema.prepare(uri)
    with brief_transaction(uri) as cursor:
        found = rows(cursor, _ACCOUNTS, {"owner": owner})
    return [(int(batch_id), uris) for batch_id, uris in found]


def to_purge(uri: str, owner: str, days: float, limit: int, skip: int = 0) -> list[Row]:
    """A deployment's fleets to purge, the oldest first: `days` after their end, and after the deadline
    until which they may keep VMs."""
    values = {"owner": owner, "days": days, "limit": limit, "skip": skip}
    return _select(uri, _TO_PURGE, values)


def mark_purged(uri: str, batch_id: int) -> None:
    """Record that only a fleet's row remains."""
    with transaction(uri) as cursor:
        cursor.execute(
            "UPDATE powerlift_fleet SET purged_at = now() WHERE batch_id = %s", (batch_id,)
        )
        cursor.execute("DELETE FROM powerlift_fleet_requirements WHERE batch_id = %s", (batch_id,))


def mark_vms_deleted(uri: str, batch_id: int) -> None:
    """Count the VMs that an ended fleet had left in place as deleted. Raises DatabaseUnreachable."""
    with brief_transaction(uri) as cursor:
        cursor.execute(_VMS_DELETED, (batch_id,))


def _select(uri: str, statement: str, values: Mapping[str, Any]) -> list[Row]:
    schema.prepare(uri)
    with brief_transaction(uri) as cursor:
        found = rows(cursor, statement, values)
    return [Row(int(batch_id), *rest) for batch_id, *rest in found]


# Skips rows with values that Python cannot represent, and truncates values: an invalid row must not
# break the list of fleets.
_FROM = f"""
    SELECT batch_id, number, left(name, 64), left(submitted_by, 256), experiment_id,
           left(experiment_name, 256), n_instances, submitted_at, started_at, ended_at, purged_at,
           left(phase, 64),
           {small_json("machines")}, {small_json("trials")}, cost, updated_at
    FROM powerlift_fleet
    WHERE started_at BETWEEN '0002-01-01' AND '9998-12-31'
    AND submitted_at BETWEEN '0002-01-01' AND '9998-12-31' AND batch_id <> 'NaN'
"""  # noqa: S608 - constants
_PAGE = f"""{_FROM}
    AND (%(status)s IS NULL OR phase = %(status)s
         OR (%(status)s = 'active' AND ended_at IS NULL)
         OR (%(status)s = 'ended' AND ended_at IS NOT NULL))
    AND (%(experiment)s IS NULL OR experiment_id::text = %(experiment)s
         OR experiment_name = %(experiment)s)
    AND (%(submitted_by)s IS NULL OR submitted_by = %(submitted_by)s)
    AND (%(since)s::timestamptz IS NULL OR submitted_at >= %(since)s)
    AND (%(at)s::timestamptz IS NULL
         OR (submitted_at, batch_id) {{then}} (%(at)s::timestamptz, %(batch_id)s::numeric))
    ORDER BY submitted_at {{order}}, batch_id {{order}} LIMIT %(limit)s
"""
_LATEST = _FROM + "ORDER BY submitted_at DESC, batch_id DESC LIMIT 1"
_BY_NUMBER = f"""{_FROM}
    AND (batch_id = %(exact)s OR number = %(exact)s
         OR (%(prefix)s <> '' AND starts_with(batch_id::text, %(prefix)s)))
    ORDER BY batch_id = %(exact)s DESC, number = %(exact)s DESC, submitted_at DESC LIMIT 10
"""
_BY_NAME = f"""{_FROM}
    AND name LIKE %(name)s || '%%'
    ORDER BY name <> %(name)s, ended_at IS NOT NULL, submitted_at DESC LIMIT 100
"""
# A fleet that updates its row has started, even if the host crashed before recording the start.
_UPDATE = """
    UPDATE powerlift_fleet
    SET {columns}, updated_at = now(), started_at = coalesce(started_at, now())
    WHERE batch_id = %(fleet)s AND ended_at IS NULL
"""
# Not those that have no VM yet, nor rows after their deadline, as in `claims`. Rows of earlier builds do
# not say which database: they count as of this one.
_RUNS_TOO = """
    SELECT FROM powerlift_fleet AS fleet JOIN powerlift_fleet AS other USING (experiment_id)
    WHERE fleet.batch_id = %(fleet)s AND other.batch_id <> fleet.batch_id AND other.ended_at IS NULL
      AND other.phase NOT IN ('plan', 'network', 'teardown')
      AND other.deadline > now() - interval '1 hour'
      AND coalesce(other.database_digest = fleet.database_digest, true)
    LIMIT 1
"""
_SAVED_REQUEST = """
    SELECT CASE WHEN octet_length(request) <= %(longest)s THEN request END, left(request_signature, 128)
    FROM powerlift_fleet WHERE batch_id = %(fleet)s
"""
_ACTIVE = _FROM + "AND ended_at IS NULL AND owner = %(owner)s ORDER BY submitted_at LIMIT 10000"
_ACCOUNTS = """
    SELECT (array_agg(batch_id ORDER BY submitted_at DESC))[1],
           coalesce(array_agg(DISTINCT target) FILTER (WHERE target IS NOT NULL), '{}')
    FROM powerlift_fleet LEFT JOIN unnest(resource_uris[:20]) AS target ON length(target) <= 1024
    WHERE started_at IS NOT NULL AND purged_at IS NULL AND owner = %(owner)s AND batch_id <> 'NaN'
    GROUP BY account
"""
_TO_PURGE = f"""{_FROM}
    AND purged_at IS NULL AND owner = %(owner)s
    AND ended_at < now() - %(days)s * interval '1 day' AND deadline < now()
    ORDER BY ended_at LIMIT %(limit)s OFFSET %(skip)s
"""
# What kept VMs have cost since the end is not known: the fleet counts with what it might have cost.
_VMS_DELETED = """
    UPDATE powerlift_fleet
    SET cost = CASE WHEN machines->>'running' <> '0' THEN coalesce(reserved_cost, cost) ELSE cost END,
        machines = machines || jsonb_build_object('running', 0, 'deleted',
            coalesce((machines->>'deleted')::integer, 0)
            + coalesce((machines->>'running')::integer, 0))
    WHERE batch_id = %s AND ended_at IS NOT NULL
"""
