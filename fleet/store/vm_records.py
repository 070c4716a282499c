"""What the benchmark's database knows of a fleet's VMs: written at each look, read for each answer.

A durable history shows a fleet's VMs as they were when it began, some minutes ago. So the orchestrator
writes each change into a table of ours, `powerlift_fleet_machine`. What the VMs have written themselves
(`startup.sh`: powerlift_fleet_runner, powerlift_fleet_trial) is read together with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values

from fleet.model import names
from fleet.model.records import Order
from fleet.store.database import ANSWER_PATIENCE, connected, may, may_write, rows


@dataclass(frozen=True, slots=True)
class Runner:
    """What a VM has told of itself, and its trials have shown."""

    working_at: datetime | None = None
    """When its script began to work; None where it never did."""
    ended_at: datetime | None = None
    outcome: str | None = None
    """How its script ended, in its own words."""
    running: int = 0
    complete: int = 0
    error: int = 0
    """Trials."""


@dataclass(frozen=True, slots=True)
class Known:
    """A fleet's VMs, by ordinal, as the database has them."""

    machines: Mapping[int, Mapping[str, Any]]
    """Records, with the members of `records.STORED`."""
    runners: Mapping[int, Runner]


def write(
    uri: str, order: Order, records: Sequence[Mapping[str, Any]], at: str
) -> dict[int, dict[str, Any]] | None:
    """Note VMs as they stood `at` a time (ISO 8601). Returns what was known of them before, by ordinal.

    What was noted later stays: an activity may run twice, and late. Without a table that
    the role may write: None. Raises DatabaseUnreachable.
    """
    with connected(uri) as database, database.cursor() as cursor:
        if not may_write(cursor, "powerlift_fleet_machine"):
            return None
        fleet = (order["batch_id"], order["created_at"])
        cursor.execute(_BEFORE, (*fleet, [one["ordinal"] for one in records]))
        before = dict(cursor.fetchall())
        rows = [(*fleet, one["ordinal"], order["experiment_id"], _runner(order, one["ordinal"]),
                 json.dumps(one), at) for one in records]  # fmt: skip
        execute_values(cursor, _WRITE, rows)
    return before


def as_noted(record: Mapping[str, Any], noted: str) -> dict[str, Any] | None:
    """A VM's record as it was when the VM stood so (`records.lifecycle`); None for one never noted."""
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


def read(uri: str, order: Order) -> Known:
    """What is known of a fleet's VMs; empty where there are no tables. Raises DatabaseUnreachable."""
    first = _runner(order, 0)
    runners = (order["experiment_id"], first, first + names.ORDINALS - 1)
    fleet = (order["batch_id"], order.get("created_at"))
    with connected(uri, ANSWER_PATIENCE, ANSWER_PATIENCE) as database, database.cursor() as cursor:
        machines = _rows_of(cursor, "powerlift_fleet_machine", _MACHINES, fleet)
        ends = _rows_of(cursor, "powerlift_fleet_runner", _RUNNERS, runners)
        counts = _rows_of(cursor, "powerlift_fleet_trial", _TRIALS, runners)
    told: dict[int, Any] = {runner: end for runner, *end in ends}
    counted: dict[int, Any] = {runner: count for runner, *count in counts}
    return Known(
        dict(machines),
        {
            runner - first: Runner(
                *told.get(runner, (None, None, None)), *counted.get(runner, (0, 0, 0))
            )
            for runner in {*told, *counted}
        },
    )


def neighbour(uri: str, order: Order) -> int | None:
    """Another batch of the same experiment whose VMs have the runner ids of this one, or None.

    Runner ids have 32 bits and batches 64, so two of 214,000 may meet. Raises DatabaseUnreachable.
    """
    first = _runner(order, 0)
    ours = (order["experiment_id"], first, first + names.ORDINALS - 1, order["batch_id"])
    with connected(uri, ANSWER_PATIENCE, ANSWER_PATIENCE) as database, database.cursor() as cursor:
        found = _rows_of(cursor, "powerlift_fleet_machine", _NEIGHBOUR, ours)
    return int(found[0][0]) if found else None


def _rows_of(cursor: Any, table: str, statement: str, values: Any) -> list[Any]:
    """What a statement answers; nothing where the role may not read the table, or there is none."""
    return rows(cursor, statement, values) if may(cursor, table, "SELECT") else []


def _runner(order: Order, ordinal: int) -> int:
    return names.runner_id(order["batch_id"], ordinal)


_BEFORE = """
    SELECT ordinal, record FROM powerlift_fleet_machine
    WHERE batch_id = %s AND began = %s AND ordinal = ANY(%s)
"""
_WRITE = """
    INSERT INTO powerlift_fleet_machine AS known
        (batch_id, began, ordinal, experiment_id, runner_id, record, noted_at) VALUES %s
    ON CONFLICT (batch_id, began, ordinal) DO UPDATE
        SET record = EXCLUDED.record, noted_at = EXCLUDED.noted_at
        WHERE known.noted_at <= EXCLUDED.noted_at
"""
_NEIGHBOUR = """
    SELECT batch_id FROM powerlift_fleet_machine
    WHERE experiment_id = %s AND runner_id BETWEEN %s AND %s AND batch_id <> %s LIMIT 1
"""
_MACHINES = "SELECT ordinal, record FROM powerlift_fleet_machine WHERE batch_id = %s AND began = %s"
# The app may have made the row, for a VM that has never worked: then it knows no kernel.
_RUNNERS = """
    SELECT runner_id, CASE WHEN kernel IS NOT NULL THEN started_at END, ended_at, outcome
    FROM powerlift_fleet_runner WHERE experiment_id = %s AND runner_id BETWEEN %s AND %s
"""
_TRIALS = """
    SELECT noted.runner_id,
           count(*) FILTER (WHERE trial.end_time IS NULL AND trial.runner_id = noted.runner_id),
           count(*) FILTER (WHERE trial.end_time IS NOT NULL AND trial.errmsg IS NULL),
           count(*) FILTER (WHERE trial.end_time IS NOT NULL AND trial.errmsg IS NOT NULL)
    FROM powerlift_fleet_trial AS noted JOIN trial ON trial.id = noted.trial_id
    WHERE noted.experiment_id = %s AND noted.runner_id BETWEEN %s AND %s
    GROUP BY noted.runner_id
"""
