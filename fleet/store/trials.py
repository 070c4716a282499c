"""Powerlift's trial table, as far as a fleet needs it: counting, and giving lost trials back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleet.model.records import Trials
from fleet.store.database import connected, may_write

LOSSES = 3
"""VMs that a trial may take with it, or be unlucky with, before it is given up."""


def count(uri: str, experiment_id: int) -> Trials | None:
    """How many trials are where, in Powerlift's own terms; None when there is no such experiment.

    Raises DatabaseUnreachable. Blocks for CONNECT_TIMEOUT + STATEMENT_TIMEOUT seconds at most.
    """
    statement = """
        SELECT e.id,
               count(t.id),
               count(t.id) FILTER (WHERE t.end_time IS NULL AND t.start_time IS NULL),
               count(t.id) FILTER (WHERE t.end_time IS NULL AND t.start_time IS NOT NULL),
               count(t.id) FILTER (WHERE t.end_time IS NOT NULL AND t.errmsg IS NULL),
               count(t.id) FILTER (WHERE t.end_time IS NOT NULL AND t.errmsg IS NOT NULL)
        FROM experiment e LEFT JOIN trial t ON t.experiment_id = e.id
        WHERE e.id = %s
        GROUP BY e.id
    """
    with connected(uri) as database, database.cursor() as cursor:
        cursor.execute(statement, (experiment_id,))
        row = cursor.fetchone()
    if row is None:
        return None
    total, ready, running, complete, error = (int(value) for value in row[1:])
    return {
        "total": total,
        "ready": ready,
        "running": running,
        "complete": complete,
        "error": error,
    }


def release(
    uri: str,
    experiment_id: int,
    runner_ids: Sequence[int],
    reasons: Mapping[int, str] | None = None,
) -> list[int]:
    """Put the open trials of runners that are gone back to the queue. Returns the runners that held
    some.

    `reasons` tells, by runner, which VM is gone and why, where that is to be held against the trial: one
    that was lost LOSSES times is marked as failed instead, with the last reason. Losses are kept in a
    table of our own, so the answer is the same when this is done twice; without it,
    a trial goes back however often.

    What the trials had measured is deleted, or a trial's results would mix two machines' timings.
    Raises DatabaseUnreachable. Only for runners whose VM no longer exists: another would write on.
    """
    with connected(uri) as database, database.cursor() as cursor:
        cursor.execute(_HELD, (experiment_id, list(runner_ids)))
        held: dict[int, int] = dict(cursor.fetchall())
        runners, spent = set(held.values()), {}
        if reasons is not None and may_write(cursor, "powerlift_fleet_loss"):
            lost = [(trial, runner, reasons.get(runner, "")) for trial, runner in held.items()]
            cursor.executemany(_LOSE, lost)
            cursor.execute(_LOST, (list(runner_ids), experiment_id))
            runners = {runner for (runner,) in cursor.fetchall()}
            cursor.execute(_SPENT, (list(held), LOSSES))
            spent = {trial: reasons.get(held[trial], "") for (trial,) in cursor.fetchall()}
        back = [trial for trial in held if trial not in spent]
        cursor.execute(_GIVE_BACK, (back,))
        cursor.executemany(_GIVE_UP, [(_given_up(why), trial) for trial, why in spent.items()])
        cursor.execute(_FORGET, (list(held),))
    return sorted(runners)


_HELD = """
    SELECT id, runner_id FROM trial
    WHERE experiment_id = %s AND runner_id = ANY(%s) AND end_time IS NULL FOR UPDATE
"""
_GIVE_BACK = "UPDATE trial SET runner_id = -1, start_time = NULL WHERE id = ANY(%s)"
_GIVE_UP = "UPDATE trial SET runner_id = -2, end_time = now(), errmsg = %s WHERE id = %s"
_FORGET = "DELETE FROM measure_outcome WHERE trial_id = ANY(%s)"
_LOSE = """
    INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason) VALUES (%s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_LOST = """
    SELECT DISTINCT loss.runner_id FROM powerlift_fleet_loss loss
    JOIN trial ON trial.id = loss.trial_id
    WHERE loss.runner_id = ANY(%s) AND trial.experiment_id = %s
"""
_SPENT = """
    SELECT trial_id FROM powerlift_fleet_loss WHERE trial_id = ANY(%s)
    GROUP BY trial_id HAVING count(*) >= %s
"""


def _given_up(reason: str) -> str:
    lost = f"The trial was lost {LOSSES} times with the VM that ran it, and is given up."
    return f"{lost} The last was {reason}"
