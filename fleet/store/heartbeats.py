"""What VMs report in their rows: heartbeats, and why their script ended. Also records their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg2.extras import execute_values

from fleet.model import names
from fleet.model.experiment_errors import EXIT_CODES
from fleet.model.order_parts import FleetRef, RecordOrder
from fleet.model.records import ExperimentError
from fleet.store.database import (
    brief_transaction,
    may_read,
    may_write,
    rows,
    short_outcome,
    transaction,
)
from fleet.store.valid_records import time_of

HEARTBEAT_TIMEOUT = 20 * 60
"""Seconds without a heartbeat after which a VM counts as silent: `fleet.vm.render.heartbeat_interval`
several times."""
RECENT = 10 * 60
"""Seconds since the last heartbeat of a VM that most likely still works."""
FIRST_HEARTBEAT_TIMEOUT = 45 * 60
"""Seconds from running to the first heartbeat; apt alone may take half of them."""
STOPPED = 143
"""The exit code of a script that was stopped by a signal, an eviction notice or the fleet."""
DELETION_TIMEOUT = 30 * 60
"""Seconds from the script's end to deletion; a VM tries to delete itself for 15 minutes."""
MAX_ERRORS = 50
"""Errors that are read at once. One is enough to end a fleet; each explains the end of its VM."""


@dataclass(frozen=True, slots=True)
class IdleVms:
    """Ordinals of running VMs that do no work."""

    silent: list[int]
    """Their script has not ended and sends no heartbeats."""
    done: list[int]
    """Their script has ended, and they failed to delete themselves."""


@dataclass(frozen=True, slots=True)
class ReportedErrors:
    errors: list[ExperimentError]
    """The first MAX_ERRORS."""
    at_work: list[int]
    """Ordinals of the VMs that have started a trial; empty without errors."""


def count_at_work(uri: str, experiment_id: int) -> int:
    """The experiment's VMs, of any fleet and deployment, whose script has not ended and which have sent
    a heartbeat within RECENT seconds; 0 without the table. Raises DatabaseUnreachable.
    """
    with brief_transaction(uri) as cursor:
        if not may_read(cursor, "powerlift_fleet_runner"):
            return 0
        [(found,)] = rows(cursor, _AT_WORK_NOW, (experiment_id, RECENT))
    return int(found)


def find_idle(uri: str, order: RecordOrder) -> IdleVms:
    """Find a fleet's idle VMs.

    A VM without heartbeats that holds a trial is working. Without write access to the app's tables VMs
    cannot send heartbeats, and none counts as silent. Raises DatabaseUnreachable.
    """
    fleet = {"batch": order["batch_id"], "began": order["created_at"]}
    limits = {"heartbeat": HEARTBEAT_TIMEOUT, "deletion": DELETION_TIMEOUT}
    with transaction(uri) as cursor:
        if not may_write(cursor, "powerlift_fleet_machine", "powerlift_fleet_runner"):
            return IdleVms([], [])
        found = rows(cursor, _IDLE, {**fleet, **limits})
        [(is_read_only,)] = rows(cursor, "SELECT current_setting('transaction_read_only')::boolean")
    silent = [
        ordinal
        for ordinal, has_ended, running_at, now in found
        if not has_ended and (running_at is None or _is_overdue(running_at, now))
    ]
    done = [ordinal for ordinal, has_ended, _, _ in found if has_ended]
    return IdleVms([] if is_read_only else silent, done if order["delete_on_complete"] else [])


def find_experiment_errors(uri: str, order: FleetRef) -> ReportedErrors:
    """Find the errors that VMs of a fleet reported and that other VMs would meet as well.

    Raises DatabaseUnreachable.
    """
    first = names.runner_id(order["batch_id"], 0)
    values = {
        "experiment": order["experiment_id"],
        "first": first,
        "last": first + names.ORDINALS - 1,
        "began": order["created_at"],
        "codes": list(EXIT_CODES),
    }
    with transaction(uri) as cursor:
        if not may_read(cursor, "powerlift_fleet_runner", "powerlift_fleet_trial"):
            return ReportedErrors([], [])
        found = rows(cursor, _ERRORS, values)
        at_work = rows(cursor, _AT_WORK, values) if found else []
    return ReportedErrors(
        [
            {"ordinal": runner - first, "exit_code": code, "message": message}
            for runner, code, message in found
        ],
        [runner - first for (runner,) in at_work],
    )


class ScriptEnd(NamedTuple):
    """How a VM's script exited on its own."""

    exit_code: int
    outcome: str | None
    """Why; None for success."""


def record_ends(uri: str, order: FleetRef, reasons: Mapping[int, str]) -> dict[int, ScriptEnd]:
    """Record the end of deleted or abandoned VMs that did not record it themselves.

    `reasons` is by ordinal. A VM that is still alive reads the record and stops. Returns the VMs whose
    script exited on its own, by ordinal. Raises DatabaseUnreachable.
    """
    first = names.runner_id(order["batch_id"], 0)
    ended = [(first + ordinal, reason) for ordinal, reason in reasons.items()]
    with transaction(uri) as cursor:
        if not ended or not may_write(cursor, "powerlift_fleet_runner"):
            return {}
        updated = execute_values(
            cursor, _CLOSE % order["experiment_id"], ended, page_size=len(ended), fetch=True
        )
    return {
        runner - first: ScriptEnd(code, None if code == 0 else outcome)
        for runner, code, outcome in updated
        if code is not None and code != STOPPED
    }


def drain(uri: str, order: FleetRef, ordinals: Sequence[int], reason: str) -> list[int]:
    """Tell VMs to end after the trial that they run. Returns the ordinals of those that run one, or of
    all without write access to the table: they cannot be told.

    A VM reads the mark, an outcome without an end, when it claims its next trial. Raises
    DatabaseUnreachable.
    """
    first = names.runner_id(order["batch_id"], 0)
    values = {
        "experiment": order["experiment_id"],
        "runners": [first + ordinal for ordinal in ordinals],
        "reason": reason,
    }
    with transaction(uri) as cursor:
        if not may_write(cursor, "powerlift_fleet_runner"):
            return list(ordinals)
        return sorted(runner - first for (runner,) in rows(cursor, _DRAIN, values))


def _is_overdue(running_at: str, now: datetime) -> bool:
    """Whether the first heartbeat is overdue; False for an invalid time. The deadline still applies."""
    try:
        running_since = time_of(running_at)
    except (ValueError, OverflowError):
        return False
    age = (now - running_since).total_seconds() if running_since else 0.0
    return age > FIRST_HEARTBEAT_TIMEOUT


# The time in a record is text that any VM may write, so it is not cast here.
_IDLE = f"""
    SELECT machine.ordinal, runner.ended_at IS NOT NULL,
           CASE WHEN runner.runner_id IS NULL THEN left(machine.record ->> 'running_at', 64) END, now()
    FROM powerlift_fleet_machine AS machine
    LEFT JOIN powerlift_fleet_runner AS runner USING (experiment_id, runner_id)
    WHERE machine.batch_id = %(batch)s AND machine.began = %(began)s
      AND machine.ordinal BETWEEN 0 AND {names.ORDINALS - 1}
      AND machine.record ->> 'state' = 'running'
      AND CASE
          WHEN runner.ended_at IS NOT NULL
              THEN runner.ended_at < now() - make_interval(secs => %(deletion)s)
          WHEN runner.runner_id IS NOT NULL
              THEN runner.seen_at < now() - make_interval(secs => %(heartbeat)s)
          ELSE machine.record ->> 'running_at' IS NOT NULL
              AND NOT EXISTS (SELECT FROM trial
                              WHERE trial.experiment_id = machine.experiment_id
                                AND trial.runner_id = machine.runner_id)
          END
    ORDER BY 1
"""  # noqa: S608 - constants
_AT_WORK_NOW = """
    SELECT count(*) FROM powerlift_fleet_runner
    WHERE experiment_id = %s AND ended_at IS NULL AND seen_at > now() - %s * interval '1 second'
"""
# Rows of an earlier fleet with the same runner IDs are older.
_ERRORS = f"""
    SELECT runner_id, exit_code, {short_outcome("outcome")} FROM powerlift_fleet_runner
    WHERE experiment_id = %(experiment)s AND runner_id BETWEEN %(first)s AND %(last)s
      AND exit_code = ANY(%(codes)s) AND outcome IS NOT NULL AND ended_at > %(began)s
    ORDER BY ended_at LIMIT {MAX_ERRORS}
"""  # noqa: S608 - constants
# So are the trials of such a fleet. One that was requeued has no start.
_AT_WORK = """
    SELECT DISTINCT noted.runner_id FROM powerlift_fleet_trial AS noted
    JOIN trial ON trial.id = noted.trial_id AND trial.experiment_id = noted.experiment_id
    WHERE noted.experiment_id = %(experiment)s AND noted.runner_id BETWEEN %(first)s AND %(last)s
      AND (trial.start_time IS NULL
           OR least(greatest(trial.start_time, '0002-01-01'), '9998-12-31')::timestamptz
              > %(began)s::timestamptz)
"""
_CLOSE = f"""
    UPDATE powerlift_fleet_runner AS runner
    SET ended_at = coalesce(ended_at, now()), outcome = coalesce(outcome, ended.reason)
    FROM (VALUES %%s) AS ended (runner_id, reason)
    WHERE runner.experiment_id = %d AND runner.runner_id = ended.runner_id
    RETURNING runner.runner_id, runner.exit_code, {short_outcome("runner.outcome")}
"""  # noqa: S608 - constants
_DRAIN = """
    UPDATE powerlift_fleet_runner AS runner SET outcome = %(reason)s
    WHERE experiment_id = %(experiment)s AND runner_id = ANY(%(runners)s) AND ended_at IS NULL
      AND EXISTS (SELECT FROM trial WHERE trial.experiment_id = runner.experiment_id
                  AND trial.runner_id = runner.runner_id AND trial.end_time IS NULL)
    RETURNING runner_id
"""
