"""What the benchmark's database knows of a fleet's VMs: written at each look, read for each answer.

A durable history shows a fleet's VMs as they were when it began, some minutes ago. So the orchestrator
writes each change into a table of ours, `powerlift_fleet_machine`. What the VMs have written themselves
(`startup.sh`: powerlift_fleet_runner, powerlift_fleet_trial) is read together with it.

The times of Powerlift's trials bear no zone: they are the server's, as is every session here.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values

from fleet import logs, names
from fleet.database import connected, may_make
from fleet.records import Machine, Order, Trials

KEPT = (
    "ordinal", "name", "place", "state", "attempt", "replaces", "created_at", "permitted_at",
    "running_at", "ended_at", "gone_at", "ended",
)  # fmt: skip
"""Members of a VM's record that the database has: no principal ids."""

POINTS = 240
"""Of a series, at most."""

SILENCE = 20 * 60
"""Seconds without a sign of life after which a VM counts as silent: it gives one each minute."""
FIRST_WORDS = 45 * 60
"""Seconds in which a VM that runs must have come to its first: apt alone may wait for half of them."""
STOPPED = 143
"""The exit code of a script that something else has ended: a signal, Azure's notice, the fleet."""
LINGERING = 30 * 60
"""Seconds that a VM may stand after its script's end: it tries to delete itself for 15 minutes."""

PATIENCE = 5
"""Seconds, once to connect and once for each statement, while somebody waits for an answer."""


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
    """Records, with the members of KEPT."""
    runners: Mapping[int, Runner]


@dataclass(frozen=True, slots=True)
class Idle:
    """VMs that run, as far as Azure knows, and do no work: their ordinals."""

    silent: list[int]
    """Their script has not ended, and gives no sign of life."""
    done: list[int]
    """Their script has ended, and they could not delete themselves."""


@dataclass(frozen=True, slots=True)
class Course:
    """How an experiment's trials went since a fleet began."""

    as_of: datetime
    experiment: str | None
    """Its name; None when there is no such experiment."""
    trials: Trials
    step: float
    """Seconds."""
    complete: Sequence[int]
    """How many had ended well by the end of each step. The first is what came before the fleet and is
    not counted in the others."""
    error: Sequence[int]


def record(machine: Machine) -> dict[str, Any]:
    """What the database has of a VM: the members of KEPT."""
    every: Mapping[str, Any] = machine
    return {name: every[name] for name in KEPT}


def write(
    uri: str, order: Order, records: Sequence[Mapping[str, Any]], at: str
) -> dict[int, dict[str, Any]] | None:
    """Note VMs as they stood `at` a time (ISO 8601). Returns what was known of them before, by ordinal.

    What was noted later stays: an activity may run twice, and late. A database role that may not make
    or write the table goes without: None. Raises DatabaseUnreachable.
    """
    with connected(uri) as database, database.cursor() as cursor:
        if not may_make(cursor, "powerlift_fleet_machine", _MAKE):
            return None
        fleet = (order["batch_id"], order["created_at"])
        cursor.execute(_BEFORE, (*fleet, [one["ordinal"] for one in records]))
        before = dict(cursor.fetchall())
        rows = [(*fleet, one["ordinal"], order["experiment_id"], _runner(order, one["ordinal"]),
                 json.dumps(one), at) for one in records]  # fmt: skip
        execute_values(cursor, _WRITE, rows)
    return before


def as_noted(record: Mapping[str, Any], noted: str) -> dict[str, Any] | None:
    """A VM's record as it was when the VM stood so (`state.standing`); None for one never noted."""
    marks = noted.split()
    if not marks:
        return None
    since = {
        "permitted_at": "permitted" in marks,
        "running_at": marks[0] not in ("refused", "creating"),
        "ended": "ended" in marks,
        "gone_at": "gone" in marks[1:],
    }
    return {**record, **{name: record[name] if was else None for name, was in since.items()}}


def read(uri: str, order: Order) -> Known:
    """What is known of a fleet's VMs; empty where there are no tables. Raises DatabaseUnreachable."""
    first = _runner(order, 0)
    runners = (order["experiment_id"], first, first + names.ORDINALS - 1)
    fleet = (order["batch_id"], order.get("created_at"))
    with connected(uri, PATIENCE, PATIENCE) as database, database.cursor() as cursor:
        [(has_machines, has_runners, has_trials)] = _rows(cursor, _TABLES, ())
        machines = _rows(cursor, _MACHINES, fleet) if has_machines else []
        ends = _rows(cursor, _RUNNERS, runners) if has_runners else []
        counts = _rows(cursor, _TRIALS, runners) if has_trials else []
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
    with connected(uri, PATIENCE, PATIENCE) as database, database.cursor() as cursor:
        has_machines = _rows(cursor, _TABLES, ())[0][0]
        found = _rows(cursor, _NEIGHBOUR, ours) if has_machines else []
    return int(found[0][0]) if found else None


def idle(uri: str, order: Order) -> Idle:
    """The VMs of a fleet that cost and do nothing, by what was noted of them and what they have told.

    A VM that never told anything and holds a trial is at work all the same. Where the database role may
    have no table of ours, or the database can only be read, no VM can tell anything, and none counts as
    silent. Raises DatabaseUnreachable.
    """
    fleet = {"batch": order["batch_id"], "began": order["created_at"]}
    limits = {"silence": SILENCE, "first_words": FIRST_WORDS, "lingering": LINGERING}
    with connected(uri) as database, database.cursor() as cursor:
        has_machines = _rows(cursor, _TABLES, ())[0][0]
        if not has_machines or not may_make(cursor, "powerlift_fleet_runner", logs.MAKE):
            return Idle([], [])
        found = _rows(cursor, _IDLE, {**fleet, **limits})
        [(is_mute,)] = _rows(cursor, "SELECT current_setting('transaction_read_only')::boolean", ())
    silent = [ordinal for ordinal, has_ended in found if not has_ended and not is_mute]
    done = [ordinal for ordinal, has_ended in found if has_ended]
    return Idle(silent, done if order["delete_on_complete"] else [])


def close(uri: str, order: Order, reasons: Mapping[int, str]) -> dict[int, str | None]:
    """Note the end of VMs that are gone, by ordinal, where they have not told theirs. One that comes
    back all the same reads there that it must not go on.

    Returns those whose script had come to its own end: None where all was well, else why not. Raises
    DatabaseUnreachable.
    """
    first = _runner(order, 0)
    rows = [(first + ordinal, reason) for ordinal, reason in reasons.items()]
    with connected(uri) as database, database.cursor() as cursor:
        if not rows or not _rows(cursor, _MAY_CLOSE, ())[0][0]:
            return {}
        told = execute_values(
            cursor, _CLOSE % order["experiment_id"], rows, page_size=len(rows), fetch=True
        )
    return {
        runner - first: None if code == 0 else outcome
        for runner, code, outcome in told
        if code is not None and code != STOPPED
    }


def course(uri: str, experiment_id: int, began: str, ended: str | None) -> Course:
    """An experiment's trials from one time to another, or to now (ISO 8601).

    Raises DatabaseUnreachable.
    """
    with connected(uri, PATIENCE, PATIENCE) as database, database.cursor() as cursor:
        [(as_of, seconds)] = _rows(cursor, _SPAN, {"began": began, "ended": ended})
        step = max(1.0, float(seconds) / POINTS)
        names_ = _rows(cursor, _EXPERIMENT, (experiment_id,))
        task = {"experiment": experiment_id, "began": began, "step": step}
        found = _rows(cursor, _ENDED, task)
        [(ready, running)] = _rows(cursor, _OPEN, (experiment_id,))
    # At most POINTS: a quotient of floats may be a little above it.
    steps = 1 + min(POINTS, max(0, math.ceil(float(seconds) / step)))
    complete, error = (_by_step(found, steps, failed) for failed in (False, True))
    ended_well, ended_badly = sum(complete), sum(error)
    return Course(
        as_of,
        names_[0][0] if names_ else None,
        {
            "total": ready + running + ended_well + ended_badly,
            "ready": ready,
            "running": running,
            "complete": ended_well,
            "error": ended_badly,
        },
        step,
        [complete[0], *itertools.accumulate(complete[1:])],
        [error[0], *itertools.accumulate(error[1:])],
    )


def _by_step(found: Iterable[tuple[int, bool, int]], steps: int, failed: bool) -> list[int]:
    """How many trials ended in each step; what ended after the last counts there."""
    counts = [0] * max(steps, 2)
    for step, has_failed, count in found:
        if has_failed is failed:
            counts[min(step, len(counts) - 1)] += count
    return counts


def _rows(cursor: Any, statement: str, values: Any) -> list[Any]:
    cursor.execute(statement, values)
    return list(cursor.fetchall())


def _runner(order: Order, ordinal: int) -> int:
    return names.runner_id(order["batch_id"], ordinal)


_MAKE = """
    CREATE TABLE IF NOT EXISTS powerlift_fleet_machine (
        batch_id bigint, began timestamptz, ordinal integer, experiment_id integer,
        runner_id integer, record jsonb NOT NULL, noted_at timestamptz NOT NULL,
        PRIMARY KEY (batch_id, began, ordinal))
"""
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
# Null without the table, false where it is another role's.
_TABLES = """
    SELECT has_table_privilege(to_regclass('powerlift_fleet_machine'), 'SELECT'),
           has_table_privilege(to_regclass('powerlift_fleet_runner'), 'SELECT'),
           has_table_privilege(to_regclass('powerlift_fleet_trial'), 'SELECT')
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
# Of a VM that runs: what its script says of itself, or nothing. An older table has no `seen_at`.
_IDLE = """
    SELECT machine.ordinal, runner.ended_at IS NOT NULL
    FROM powerlift_fleet_machine AS machine
    LEFT JOIN powerlift_fleet_runner AS runner USING (experiment_id, runner_id)
    WHERE machine.batch_id = %(batch)s AND machine.began = %(began)s
      AND machine.record ->> 'state' = 'running'
      AND CASE
          WHEN runner.ended_at IS NOT NULL
              THEN runner.ended_at < now() - make_interval(secs => %(lingering)s)
          WHEN runner.runner_id IS NOT NULL
              THEN (to_jsonb(runner) ->> 'seen_at')::timestamptz
                       < now() - make_interval(secs => %(silence)s)
          ELSE (machine.record ->> 'running_at')::timestamptz
                       < now() - make_interval(secs => %(first_words)s)
              AND NOT EXISTS (SELECT FROM trial
                              WHERE trial.experiment_id = machine.experiment_id
                                AND trial.runner_id = machine.runner_id)
          END
    ORDER BY 1
"""
_MAY_CLOSE = """
    SELECT coalesce(bool_and(has_table_privilege(to_regclass('powerlift_fleet_runner'), needed)), false)
    FROM unnest(ARRAY['SELECT', 'UPDATE']) AS needed
"""
_CLOSE = """
    UPDATE powerlift_fleet_runner AS runner
    SET ended_at = coalesce(ended_at, now()), outcome = coalesce(outcome, gone.reason)
    FROM (VALUES %%s) AS gone (runner_id, reason)
    WHERE runner.experiment_id = %d AND runner.runner_id = gone.runner_id
    RETURNING runner.runner_id, runner.exit_code, runner.outcome
"""
_SPAN = """
    SELECT as_of, extract(epoch FROM as_of - %(began)s::timestamptz)
    FROM (SELECT coalesce(%(ended)s::timestamptz, now()) AS as_of) AS span
"""
_EXPERIMENT = "SELECT name FROM experiment WHERE id = %s"
_ENDED = """
    SELECT CASE WHEN since < 0 THEN 0 ELSE 1 + floor(since / %(step)s)::integer END AS step,
           failed, count(*)
    FROM (SELECT extract(epoch FROM end_time::timestamptz - %(began)s::timestamptz) AS since,
                 errmsg IS NOT NULL AS failed
          FROM trial WHERE experiment_id = %(experiment)s AND end_time IS NOT NULL) AS ended
    GROUP BY 1, 2
"""
_OPEN = """
    SELECT count(*) FILTER (WHERE start_time IS NULL), count(*) FILTER (WHERE start_time IS NOT NULL)
    FROM trial WHERE experiment_id = %s AND end_time IS NULL
"""
