"""Powerlift's trial table: counts trials and requeues lost ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict

from fleet.model.records import Trials
from fleet.store.database import REQUEST_TIMEOUT, connected, may, may_write, rows

MAX_HELD = 20_000
"""Trials that are requeued at once. A VM holds one at a time, and a fleet has at most 5,000 VMs."""
MAX_LOSSES = 3
"""VM losses after which a trial is marked as failed instead of requeued."""


def experiment_name(uri: str, experiment_id: int) -> str | None:
    """Raises DatabaseUnreachable."""
    with connected(uri) as database, database.cursor() as cursor:
        found = rows(
            cursor, "SELECT left(name, 256) FROM experiment WHERE id = %s", (experiment_id,)
        )
    return found[0][0] if found else None


class Experiment(TypedDict):
    """What an experiment's VMs install and run. Texts are cut to 4,096 characters."""

    is_upstream_script: bool
    """Whether its script is the one that Powerlift's own `Benchmark.run` stores."""
    measures_trials: bool
    """Whether its script measures what a trial uses, as that of `run_experiment` does."""
    pip_install: str
    shell_install: str
    wheels: list[str]
    """Names, 100 at most."""


def experiment(uri: str, experiment_id: int) -> Experiment | None:
    """What an experiment's VMs install and run; None if it does not exist.

    Raises DatabaseUnreachable.
    """
    statement = """
        SELECT position('wired_function' IN script) > 0,
               position('max_rss_bytes' IN script) > 0, left(coalesce(pip_install, ''), 4096),
               left(coalesce(shell_install, ''), 4096),
               ARRAY(SELECT left(name, 256) FROM wheel WHERE experiment_id = e.id LIMIT 100)
        FROM experiment e WHERE id = %s
    """
    with connected(uri, statement=REQUEST_TIMEOUT) as database, database.cursor() as cursor:
        cursor.execute(statement, (experiment_id,))
        row = cursor.fetchone()
    if row is None:
        return None
    is_upstream_script, measures_trials, pip, shell, wheels = row
    return {
        "is_upstream_script": is_upstream_script,
        "measures_trials": measures_trials,
        "pip_install": pip,
        "shell_install": shell,
        "wheels": wheels,
    }


def count(uri: str, experiment_id: int) -> Trials | None:
    """Count trials by state; None if the experiment does not exist.

    Raises DatabaseUnreachable, and before the plan's own timeout, which would hide the reason.
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
    with connected(uri, statement=REQUEST_TIMEOUT) as database, database.cursor() as cursor:
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


def mean_seconds(uri: str, experiment_id: int) -> float | None:
    """The mean duration of the experiment's successful trials; None without any.

    Raises DatabaseUnreachable.
    """
    with connected(uri, REQUEST_TIMEOUT, REQUEST_TIMEOUT) as database, database.cursor() as cursor:
        [(seconds,)] = rows(cursor, _MEAN_SECONDS, (experiment_id,))
    return None if seconds is None else float(seconds)


def release(
    uri: str,
    experiment_id: int,
    runner_ids: Sequence[int],
    reasons: Mapping[int, str] | None = None,
) -> list[int]:
    """Requeue the unfinished trials of deleted VMs. Returns the runners that held any.

    `reasons`, by runner, counts the loss against the trial: after MAX_LOSSES losses the trial is marked
    as failed with the last reason. Losses are stored, so a repeated call is idempotent. Without that
    table, or without a reason, a trial is always requeued.

    Deletes the trials' partial measurements, which would mix timings of two VMs. The VMs must no longer
    exist, because a running VM would keep writing. Raises DatabaseUnreachable.
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
            cursor.execute(_SPENT, (list(held), MAX_LOSSES))
            spent = {trial: reasons.get(held[trial], "") for (trial,) in cursor.fetchall()}
        back = [trial for trial in held if trial not in spent]
        cursor.execute(_GIVE_BACK, (back,))
        cursor.executemany(_GIVE_UP, [(_given_up(why), trial) for trial, why in spent.items()])
        cursor.execute(_FORGET, (list(held),))
    return sorted(runners)


def reset_failed(uri: str, experiment_id: int) -> int:
    """Requeue the experiment's failed trials, in one transaction. Returns how many.

    Deletes their measurements and errors, and what they count in the app's tables: losses, and the VM
    that ran them. Raises DatabaseUnreachable.
    """
    with connected(uri, REQUEST_TIMEOUT, REQUEST_TIMEOUT) as database, database.cursor() as cursor:
        failed = [trial for (trial,) in rows(cursor, _RESET, (experiment_id,))]
        cursor.execute(_FORGET, (failed,))
        for table, statement in _FORGET_OWN.items():
            if may(cursor, table, "SELECT", "DELETE"):
                cursor.execute(statement, (failed,))
    return len(failed)


# Trials write their times themselves.
_MEAN_SECONDS = """
    SELECT avg(extract(epoch FROM end_time - start_time)) FROM trial
    WHERE experiment_id = %s AND errmsg IS NULL AND isfinite(start_time) AND isfinite(end_time)
      AND end_time > start_time
"""
_HELD = f"""
    SELECT id, runner_id FROM trial
    WHERE experiment_id = %s AND runner_id = ANY(%s) AND end_time IS NULL LIMIT {MAX_HELD} FOR UPDATE
"""  # noqa: S608 - constants
_GIVE_BACK = "UPDATE trial SET runner_id = -1, start_time = NULL WHERE id = ANY(%s)"
_GIVE_UP = "UPDATE trial SET runner_id = -2, end_time = now(), errmsg = %s WHERE id = %s"
_FORGET = "DELETE FROM measure_outcome WHERE trial_id = ANY(%s)"
_RESET = """
    UPDATE trial SET runner_id = -1, start_time = NULL, end_time = NULL, errmsg = NULL
    WHERE id IN (SELECT id FROM trial
                 WHERE experiment_id = %s AND end_time IS NOT NULL AND errmsg IS NOT NULL
                 ORDER BY id FOR UPDATE)
      AND errmsg IS NOT NULL
    RETURNING id
"""
_FORGET_OWN = {
    table: f"DELETE FROM {table} WHERE trial_id = ANY(%s)"  # noqa: S608 - a constant
    for table in ("powerlift_fleet_loss", "powerlift_fleet_trial")
}
_LOSE = """
    INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason) VALUES (%s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_LOST = """
    SELECT DISTINCT loss.runner_id FROM powerlift_fleet_loss loss
    JOIN trial ON trial.id = loss.trial_id
    WHERE loss.runner_id = ANY(%s) AND trial.experiment_id = %s AND loss.lost_at >= trial.create_time
"""
# When Powerlift's tables are recreated, trial IDs start again. Powerlift's times are naive, in the
# server's time zone, as is the comparison here.
_SPENT = """
    SELECT loss.trial_id FROM powerlift_fleet_loss loss JOIN trial ON trial.id = loss.trial_id
    WHERE loss.trial_id = ANY(%s) AND loss.lost_at >= trial.create_time
    GROUP BY loss.trial_id HAVING count(*) >= %s
"""


def _given_up(reason: str) -> str:
    return f"Abandoned: the VM running this trial was lost {MAX_LOSSES} times. Last: {reason}"
