"""The VM records in the benchmark's database: written at each poll, read for each API response.

A durable history contains the VMs' state as of its start, minutes ago. The orchestrator therefore writes
each change to `powerlift_fleet_machine`. VMs report to powerlift_fleet_runner and powerlift_fleet_trial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

from psycopg2.extras import execute_values

from fleet.model import names
from fleet.model.order_parts import FleetRef
from fleet.model.records import StoredVm
from fleet.store import package_locks
from fleet.store.database import (
    brief_transaction,
    may,
    may_read,
    may_write,
    rows,
    short_outcome,
    small_json,
    transaction,
)
from fleet.store.valid_records import valid_records

SHORT = 256
"""Characters of a text that a VM writes about its system."""


@dataclass(frozen=True, slots=True)
class VmReport:
    """What a VM reports about itself, and its trials by state."""

    working_at: datetime | None = None
    """When its startup script started; None if it never did."""
    ended_at: datetime | None = None
    outcome: str | None = None
    """Why its script exited."""
    running: int = 0
    complete: int = 0
    error: int = 0
    first_trial_at: datetime | None = None
    system: VmSystem | None = None


class VmSystem(TypedDict):
    """What a VM runs on, as it reports it."""

    image: str | None
    image_version: str | None
    kernel: str | None
    architecture: str | None
    cpu_model: str | None
    cpus: int | None
    memory_bytes: int | None
    python: str | None
    lock_digest: str | None


@dataclass(frozen=True, slots=True)
class StoredVms:
    """A fleet's VMs in the database, by ordinal."""

    machines: Mapping[int, StoredVm]
    reports: Mapping[int, VmReport]


def write(
    uri: str, order: FleetRef, records: Sequence[Mapping[str, Any]], at: str
) -> dict[int, StoredVm] | None:
    """Write VM records as of a time (ISO 8601). Returns the valid previous records by ordinal.

    Newer records are kept, because an activity may run twice and late. Returns None without write
    access to the table. Raises DatabaseUnreachable.
    """
    with transaction(uri) as cursor:
        if not may_write(cursor, "powerlift_fleet_machine"):
            return None
        fleet = (order["batch_id"], order["created_at"])
        cursor.execute(_BEFORE, (*fleet, [one["ordinal"] for one in records]))
        before = valid_records(cursor.fetchall())
        first = names.runner_id(order["batch_id"], 0)
        new = [(*fleet, one["ordinal"], order["experiment_id"], first + one["ordinal"],
                json.dumps(one), at) for one in records]  # fmt: skip
        execute_values(cursor, _WRITE, new)
    return before


def record_as_of(record: Mapping[str, Any], noted: str) -> dict[str, Any] | None:
    """A VM's record as of its last stored markers (`records.lifecycle`); None if never stored."""
    marks = noted.split()
    if not marks:
        return None
    since = {
        "role_assigned_at": "role_assigned" in marks,
        "running_at": marks[0] not in ("refused", "creating"),
        "ended": "ended" in marks,
        "deleted_at": "deleted" in marks[1:],
    }
    return {**record, **{name: record[name] if was else None for name, was in since.items()}}


def read(uri: str, order: FleetRef) -> StoredVms:
    """Read a fleet's VMs, except for invalid records; empty without the tables.

    Raises DatabaseUnreachable.
    """
    first = names.runner_id(order["batch_id"], 0)
    runners = (order["experiment_id"], first, first + names.ORDINALS - 1)
    fleet = (order["batch_id"], order.get("created_at"))
    with brief_transaction(uri) as cursor:
        machines = _rows_of(cursor, _MACHINES, fleet, "powerlift_fleet_machine")
        ends = _rows_of(cursor, _RUNNERS, runners, "powerlift_fleet_runner")
        systems = _systems(cursor, runners)
        both = "powerlift_fleet_runner", "powerlift_fleet_trial"
        counts = _rows_of(cursor, _TRIALS, runners, *both)
    reported: dict[int, Any] = {runner: end for runner, *end in ends}
    counted: dict[int, Any] = {runner: count for runner, *count in counts}
    return StoredVms(
        valid_records(machines),
        {
            runner - first: VmReport(
                *[
                    *reported.get(runner, (None, None, None)),
                    *counted.get(runner, (0, 0, 0, None)),
                    systems.get(runner),
                ]
            )
            for runner in {*reported, *counted}
        },
    )


def conflicting_batch(uri: str, order: FleetRef) -> int | None:
    """Another batch of the experiment with the same runner IDs, or None.

    Runner IDs have 32 bits and batch IDs 64, so batches 214,000 apart collide. Raises
    DatabaseUnreachable.
    """
    first = names.runner_id(order["batch_id"], 0)
    ours = (order["experiment_id"], first, first + names.ORDINALS - 1, order["batch_id"])
    with brief_transaction(uri) as cursor:
        found = _rows_of(cursor, _CONFLICTING_BATCH, ours, "powerlift_fleet_machine")
    return int(found[0][0]) if found else None


def purge(uri: str, order: FleetRef) -> None:
    """Delete the rows of a fleet's VMs in our tables: records, heartbeats, logs, packages, trials
    that they ran.

    Skips tables from which the role may not delete. Raises DatabaseUnreachable.
    """
    fleet = {
        "batch_id": order["batch_id"],
        "began": order.get("created_at"),
        "experiment": order["experiment_id"],
    }
    with transaction(uri) as cursor:
        for table, statement in _PURGE.items():
            if may(cursor, f"powerlift_fleet_{table}", "SELECT", "DELETE"):
                cursor.execute(statement, fleet)
        package_locks.purge(cursor, order)


def _rows_of(cursor: Any, statement: str, values: Any, *tables: str) -> list[Any]:
    """The rows; empty if a table does not exist or the role may not read it."""
    return rows(cursor, statement, values) if may_read(cursor, *tables) else []


def _systems(cursor: Any, runners: tuple[int, int, int]) -> dict[int, VmSystem]:
    """By runner. Empty if the app could not migrate the table."""
    if not rows(cursor, _HAS_SYSTEM)[0][0]:
        return {}
    found = _rows_of(cursor, _SYSTEMS, runners, "powerlift_fleet_runner")
    return {
        runner: cast(VmSystem, dict(zip(VmSystem.__annotations__, values, strict=True)))
        for runner, *values in found
    }


def amount(column: str) -> str:
    """SQL of a number that a VM writes, null if it is below zero."""
    return f"CASE WHEN {column} >= 0 THEN {column} END"


# VMs may write the tables: each query limits the rows and the size of each value that it returns.
_BEFORE = f"""
    SELECT ordinal, {small_json("record")} FROM powerlift_fleet_machine
    WHERE batch_id = %s AND began = %s AND ordinal = ANY(%s)
"""  # noqa: S608 - constants
_WRITE = """
    INSERT INTO powerlift_fleet_machine AS known
        (batch_id, began, ordinal, experiment_id, runner_id, record, noted_at) VALUES %s
    ON CONFLICT (batch_id, began, ordinal) DO UPDATE
        SET record = EXCLUDED.record, noted_at = EXCLUDED.noted_at
        WHERE known.noted_at <= EXCLUDED.noted_at
"""
# Fleets with the same runner IDs, as of two deployments on one database, keep their rows.
_OF_FLEET = """
    IN (SELECT runner_id FROM powerlift_fleet_machine
        WHERE batch_id = %(batch_id)s AND began = %(began)s AND experiment_id = %(experiment)s
        EXCEPT SELECT runner_id FROM powerlift_fleet_machine
        WHERE (batch_id, began) <> (%(batch_id)s, %(began)s::timestamptz)
          AND experiment_id = %(experiment)s)
"""
_LOSSES = """
    DELETE FROM powerlift_fleet_loss AS lost USING powerlift_fleet_trial AS ran
    WHERE ran.trial_id = lost.trial_id AND ran.experiment_id = %(experiment)s AND lost.runner_id
"""
_PURGE = {
    "loss": _LOSSES + _OF_FLEET,
    **{
        table: f"DELETE FROM powerlift_fleet_{table}"  # noqa: S608 - a constant
        " WHERE experiment_id = %(experiment)s AND runner_id" + _OF_FLEET
        for table in ("trial", "runner")
    },
    "machine": "DELETE FROM powerlift_fleet_machine"
    " WHERE batch_id = %(batch_id)s AND began = %(began)s",
}
_CONFLICTING_BATCH = """
    SELECT batch_id FROM powerlift_fleet_machine
    WHERE experiment_id = %s AND runner_id BETWEEN %s AND %s AND batch_id <> %s
      AND batch_id <> 'NaN' LIMIT 1
"""
_MACHINES = f"""
    SELECT ordinal, {small_json("record")} FROM powerlift_fleet_machine
    WHERE batch_id = %s AND began = %s AND ordinal BETWEEN 0 AND {names.ORDINALS - 1}
"""  # noqa: S608 - constants
# A row without a kernel was written by the app, for a VM whose script never started.
_RUNNERS = f"""
    SELECT runner_id, CASE WHEN kernel IS NOT NULL THEN started_at END, ended_at,
           {short_outcome("outcome")}
    FROM powerlift_fleet_runner WHERE experiment_id = %s AND runner_id BETWEEN %s AND %s
"""  # noqa: S608 - constants
_HAS_SYSTEM = """
    SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('powerlift_fleet_runner')
                   AND attname = 'lock_digest')
"""
_SYSTEMS = f"""
    SELECT runner_id, left(image, {SHORT}), left(image_version, {SHORT}), left(kernel, {SHORT}),
           left(architecture, {SHORT}), left(cpu_model, {SHORT}), {amount("cpus")},
           {amount("memory_bytes")}, left(python, {SHORT}), left(lock_digest, {SHORT})
    FROM powerlift_fleet_runner
    WHERE experiment_id = %s AND runner_id BETWEEN %s AND %s AND kernel IS NOT NULL
"""  # noqa: S608 - constants
# A trial that was created after its VM has ended is another one: when Powerlift's tables are recreated,
# IDs start again, and our rows stay.
_TRIALS = """
    SELECT noted.runner_id,
           count(*) FILTER (WHERE trial.end_time IS NULL AND trial.runner_id = noted.runner_id),
           count(*) FILTER (WHERE trial.end_time IS NOT NULL AND trial.errmsg IS NULL),
           count(*) FILTER (WHERE trial.end_time IS NOT NULL AND trial.errmsg IS NOT NULL),
           min(trial.start_time)::timestamptz
    FROM powerlift_fleet_trial AS noted
    JOIN trial ON trial.id = noted.trial_id AND trial.experiment_id = noted.experiment_id
    LEFT JOIN powerlift_fleet_runner AS ran
        ON ran.experiment_id = noted.experiment_id AND ran.runner_id = noted.runner_id
    WHERE noted.experiment_id = %s AND noted.runner_id BETWEEN %s AND %s
      AND (ran.ended_at IS NULL OR ran.ended_at >= trial.create_time)
    GROUP BY noted.runner_id
"""
