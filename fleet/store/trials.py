"""Powerlift's trial table: counts trials and requeues lost ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from typing_extensions import TypedDict

from fleet.model import names
from fleet.model.records import Trials
from fleet.model.vm_downfall import sign_of_trial
from fleet.store.database import (
    REQUEST_TIMEOUT,
    brief_transaction,
    may_read,
    may_write,
    rows,
    transaction,
)

MAX_HELD = 20_000
"""Trials that are requeued at once. A VM holds one at a time, and a fleet has at most 5,000 VMs."""
MAX_RESERVED = 200_000
"""Trials of groups that are requeued at once, with those that run."""
LOG_SEARCHED = 32 * 1024
"""Characters at the end of a VM's log that are searched for why it stopped."""
LOSSES_ON_SPOT = 2
"""VMs that a trial may lose before it waits for one of regular priority, also in `fleet/vm/startup/`."""
FAULTS = 2
"""VMs that a trial may take down before it is marked as failed."""


def experiment_name(uri: str, experiment_id: int) -> str | None:
    """Raises DatabaseUnreachable."""
    with transaction(uri) as cursor:
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
    keeps_order: bool
    """Whether its script takes trials in the fleet's order, as our runner does."""
    open_groups: int
    """Its tasks and replicates with unfinished trials."""


def experiment(uri: str, experiment_id: int) -> Experiment | None:
    """What an experiment's VMs install and run; None if it does not exist.

    Raises DatabaseUnreachable.
    """
    # In the order of the members of `Experiment`, as the counts below are in that of `Trials`.
    statement = """
        SELECT position('wired_function' IN script) > 0,
               position('max_rss_bytes' IN script) > 0, left(coalesce(pip_install, ''), 4096),
               left(coalesce(shell_install, ''), 4096),
               ARRAY(SELECT left(name, 256) FROM wheel WHERE experiment_id = e.id LIMIT 100),
               position('POWERLIFT_CLAIM' IN script) > 0,
               (SELECT count(DISTINCT (task_id, replicate_num)) FROM trial
                WHERE experiment_id = e.id AND end_time IS NULL)
        FROM experiment e WHERE id = %s
    """
    with transaction(uri, statement=REQUEST_TIMEOUT) as cursor:
        cursor.execute(statement, (experiment_id,))
        row = cursor.fetchone()
    named = row and dict(zip(Experiment.__annotations__, row, strict=True))
    return cast(Experiment | None, named)


def count(uri: str, experiment_id: int) -> Trials | None:
    """Count trials by state; None if the experiment does not exist.

    Raises DatabaseUnreachable, and before the plan's own timeout, which would hide the reason.
    """
    return count_with_waiting(uri, experiment_id)[0]


def count_with_waiting(uri: str, experiment_id: int) -> tuple[Trials | None, int]:
    """As `count`, and how many of the ready trials wait for a VM of regular priority."""
    statement = """
        SELECT count(t.id),
               count(t.id) FILTER (WHERE t.end_time IS NULL AND t.start_time IS NULL),
               count(t.id) FILTER (WHERE t.end_time IS NULL AND t.start_time IS NOT NULL),
               count(t.id) FILTER (WHERE t.end_time IS NOT NULL AND t.errmsg IS NULL),
               count(t.id) FILTER (WHERE t.end_time IS NOT NULL AND t.errmsg IS NOT NULL),
               count(t.id) FILTER (WHERE t.end_time IS NULL AND t.runner_id = %s)
        FROM experiment e LEFT JOIN trial t ON t.experiment_id = e.id
        WHERE e.id = %s
        GROUP BY e.id
    """
    with transaction(uri, statement=REQUEST_TIMEOUT) as cursor:
        cursor.execute(statement, (names.AWAITS_REGULAR, experiment_id))
        row = cursor.fetchone()
    if row is None:
        return None, 0
    *counts, waiting = row
    return cast(Trials, dict(zip(Trials.__annotations__, counts, strict=True))), waiting


def count_waiting(uri: str, experiment_id: int) -> int:
    """The trials that wait for a VM of regular priority. Raises DatabaseUnreachable."""
    with transaction(uri) as cursor:
        [(waiting,)] = rows(cursor, _WAITING, (experiment_id, names.AWAITS_REGULAR))
    return int(waiting)


def mean_seconds(uri: str, experiment_id: int) -> float | None:
    """The mean duration of the experiment's successful trials; None without any.

    Raises DatabaseUnreachable.
    """
    with brief_transaction(uri) as cursor:
        [(seconds,)] = rows(cursor, _MEAN_SECONDS, (experiment_id,))
    return None if seconds is None else float(seconds)


class Released(NamedTuple):
    """What became of the trials of deleted VMs."""

    runners: list[int]
    """Those that were running a trial."""
    failed: int
    """Trials that were marked as failed."""


def release(
    uri: str,
    experiment_id: int,
    runner_ids: Sequence[int],
    reasons: Mapping[int, str] | None = None,
) -> Released:
    """Requeue the unfinished trials of deleted VMs.

    `reasons`, by runner: why the VM was lost. After LOSSES_ON_SPOT losses in a fleet, the trial waits
    for a VM of regular priority, with the rest of its group. A trial is marked as failed only if it has
    taken down FAULTS VMs (`sign_of_trial`). Losses are stored, so a repeated call is idempotent. Without
    that table, a trial is always requeued.

    Without `reasons`, the fleet has ended, which counts against no trial.

    Deletes the trials' partial measurements, which would mix timings of two VMs. The VMs must no longer
    exist, because a running VM would keep writing. Raises DatabaseUnreachable.
    """
    with transaction(uri) as cursor:
        cursor.execute(_HELD, (experiment_id, list(runner_ids)))
        held: dict[int, int] = dict(cursor.fetchall())
        runners, waiting, failed = set(held.values()), set[int](), 0
        if reasons is not None and _may_count_losses(cursor):
            signs = _signs(cursor, experiment_id, sorted(runners))
            lost = [
                (trial, runner, reasons.get(runner, ""), signs.get(runner))
                for trial, runner in held.items()
            ]
            cursor.executemany(_LOSE, lost)
            cursor.execute(_LOST, (list(runner_ids), experiment_id))
            runners = {runner for (runner,) in cursor.fetchall()}
            for trial, losses, faults in rows(cursor, _LOSSES, (list(held),)):
                runner = held[trial]
                if faults >= FAULTS and runner in signs:
                    why = _taken_down(faults, signs[runner], reasons.get(runner, ""))
                    cursor.execute(_FAIL, (why, trial))
                    failed += 1
                elif losses >= LOSSES_ON_SPOT:
                    waiting.add(runner)
        for target, given in (
            (names.AWAITS_REGULAR, waiting),
            (-1, {*runner_ids} - waiting),
        ):
            trials = [trial for trial, runner in held.items() if runner in given]
            reserved = [names.reserving_id(runner) for runner in given]
            cursor.execute(_GIVE_BACK, (target, trials, experiment_id, reserved))
        cursor.execute(_FORGET, (list(held),))
    return Released(sorted(runners), failed)


def release_waiting(uri: str, experiment_id: int) -> None:
    """Requeue the trials that wait for a VM of regular priority, for a later fleet.

    Call it only if no other fleet runs the experiment: the trials may have lost that fleet's VMs.
    Raises DatabaseUnreachable.
    """
    with transaction(uri) as cursor:
        cursor.execute(_GIVE_BACK, (-1, [], experiment_id, [names.AWAITS_REGULAR]))


def _may_count_losses(cursor: Any) -> bool:
    """Whether the table exists as this build uses it, and the role may write it."""
    if not may_write(cursor, "powerlift_fleet_loss"):
        return False
    [(exists,)] = rows(cursor, _HAS_FAULT)
    return bool(exists)


def _signs(cursor: Any, experiment_id: int, runners: Sequence[int]) -> dict[int, str]:
    """How trials took down the silent ones among the VMs, by runner."""
    if not may_read(cursor, "powerlift_fleet_runner"):
        return {}
    found = rows(cursor, _SILENT, (experiment_id, list(runners)))
    signs = {runner: sign_of_trial(*figures) for runner, *figures in found}
    return {runner: sign for runner, sign in signs.items() if sign}


# Trials write their times themselves.
_MEAN_SECONDS = """
    SELECT avg(extract(epoch FROM end_time - start_time)) FROM trial
    WHERE experiment_id = %s AND errmsg IS NULL AND isfinite(start_time) AND isfinite(end_time)
      AND end_time > start_time
"""
_WAITING = "SELECT count(*) FROM trial WHERE experiment_id = %s AND runner_id = %s"
_HELD = f"""
    SELECT id, runner_id FROM trial
    WHERE experiment_id = %s AND runner_id = ANY(%s) AND end_time IS NULL LIMIT {MAX_HELD} FOR UPDATE
"""  # noqa: S608 - constants
_GIVE_BACK = f"""
    UPDATE trial SET runner_id = %s, start_time = NULL
    WHERE end_time IS NULL AND id IN (
        SELECT unnest(%s::integer[]) UNION ALL
        (SELECT id FROM trial WHERE experiment_id = %s AND runner_id = ANY(%s) LIMIT {MAX_RESERVED}))
"""  # noqa: S608 - constants
_FAIL = "UPDATE trial SET runner_id = -2, end_time = now(), errmsg = %s WHERE id = %s"
_FORGET = "DELETE FROM measure_outcome WHERE trial_id = ANY(%s)"
_HAS_FAULT = """
    SELECT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = to_regclass('powerlift_fleet_loss') AND attname = 'fault')
"""
_SILENT = f"""
    SELECT runner_id, right(log, {LOG_SEARCHED}), memory_available, memory_bytes
    FROM powerlift_fleet_runner
    WHERE experiment_id = %s AND runner_id = ANY(%s) AND outcome LIKE 'VmSilent:%%'
"""  # noqa: S608 - constants
_LOSE = """
    INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason, fault) VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_LOST = """
    SELECT DISTINCT loss.runner_id FROM powerlift_fleet_loss loss
    JOIN trial ON trial.id = loss.trial_id
    WHERE loss.runner_id = ANY(%s) AND trial.experiment_id = %s AND loss.lost_at >= trial.create_time
"""
# Of the fleet that holds the trial. When Powerlift's tables are recreated, trial IDs start again.
# Powerlift's times are naive, in the server's time zone, as is the comparison here.
_LOSSES = f"""
    SELECT loss.trial_id, count(*), count(loss.fault) FROM powerlift_fleet_loss loss
    JOIN trial ON trial.id = loss.trial_id
        AND trial.runner_id / {names.ORDINALS} = loss.runner_id / {names.ORDINALS}
    WHERE loss.trial_id = ANY(%s) AND loss.lost_at >= trial.create_time
    GROUP BY loss.trial_id
"""  # noqa: S608 - constants


def _taken_down(times: int, sign: str, reason: str) -> str:
    return (
        f"The trial took down its VM {times} times, and was not tried again. Last: {sign}. {reason} "
        "Choose a larger vm_size, or limit the trial's memory: runner_script(memory_limit=...)."
    )
