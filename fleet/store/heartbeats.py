"""VMs that cost and do nothing, by what was noted of them and what they have told; and their end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg2.extras import execute_values

from fleet.model import names
from fleet.model.records import Order
from fleet.store.database import connected, may_write, rows

SILENCE = 20 * 60
"""Seconds without a sign of life after which a VM counts as silent: it gives one each minute."""
FIRST_WORDS = 45 * 60
"""Seconds in which a VM that runs must have come to its first: apt alone may wait for half of them."""
STOPPED = 143
"""The exit code of a script that something else has ended: a signal, Azure's notice, the fleet."""
LINGERING = 30 * 60
"""Seconds that a VM may stand after its script's end: it tries to delete itself for 15 minutes."""


@dataclass(frozen=True, slots=True)
class Idle:
    """VMs that run, as far as Azure knows, and do no work: their ordinals."""

    silent: list[int]
    """Their script has not ended, and gives no sign of life."""
    done: list[int]
    """Their script has ended, and they could not delete themselves."""


def idle(uri: str, order: Order) -> Idle:
    """The VMs of a fleet that cost and do nothing, by what was noted of them and what they have told.

    A VM that never told anything and holds a trial is at work all the same. Where the database role may
    have no table of ours, or the database can only be read, no VM can tell anything, and none counts as
    silent. Raises DatabaseUnreachable.
    """
    fleet = {"batch": order["batch_id"], "began": order["created_at"]}
    limits = {"silence": SILENCE, "first_words": FIRST_WORDS, "lingering": LINGERING}
    with connected(uri) as database, database.cursor() as cursor:
        tables = ("powerlift_fleet_machine", "powerlift_fleet_runner")
        if not all(may_write(cursor, table) for table in tables):
            return Idle([], [])
        found = rows(cursor, _IDLE, {**fleet, **limits})
        [(is_mute,)] = rows(cursor, "SELECT current_setting('transaction_read_only')::boolean")
    silent = [ordinal for ordinal, has_ended in found if not has_ended and not is_mute]
    done = [ordinal for ordinal, has_ended in found if has_ended]
    return Idle(silent, done if order["delete_on_complete"] else [])


def close(uri: str, order: Order, reasons: Mapping[int, str]) -> dict[int, str | None]:
    """Note the end of VMs that are gone, by ordinal, where they have not told theirs. One that comes
    back all the same reads there that it must not go on.

    Returns those whose script had come to its own end: None where all was well, else why not. Raises
    DatabaseUnreachable.
    """
    first = names.runner_id(order["batch_id"], 0)
    gone = [(first + ordinal, reason) for ordinal, reason in reasons.items()]
    with connected(uri) as database, database.cursor() as cursor:
        if not gone or not may_write(cursor, "powerlift_fleet_runner"):
            return {}
        told = execute_values(
            cursor, _CLOSE % order["experiment_id"], gone, page_size=len(gone), fetch=True
        )
    return {
        runner - first: None if code == 0 else outcome
        for runner, code, outcome in told
        if code is not None and code != STOPPED
    }


# Of a VM that runs: what its script says of itself, or nothing.
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
              THEN runner.seen_at < now() - make_interval(secs => %(silence)s)
          ELSE (machine.record ->> 'running_at')::timestamptz
                       < now() - make_interval(secs => %(first_words)s)
              AND NOT EXISTS (SELECT FROM trial
                              WHERE trial.experiment_id = machine.experiment_id
                                AND trial.runner_id = machine.runner_id)
          END
    ORDER BY 1
"""
_CLOSE = """
    UPDATE powerlift_fleet_runner AS runner
    SET ended_at = coalesce(ended_at, now()), outcome = coalesce(outcome, gone.reason)
    FROM (VALUES %%s) AS gone (runner_id, reason)
    WHERE runner.experiment_id = %d AND runner.runner_id = gone.runner_id
    RETURNING runner.runner_id, runner.exit_code, runner.outcome
"""
