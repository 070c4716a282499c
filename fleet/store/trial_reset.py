"""Resets the failed trials of an experiment, for a retry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from fleet.store.database import REQUEST_TIMEOUT, DatabaseUnreachable, connected, may, rows

RESET_SECONDS = 12.0
"""For the reset of failed trials: it is done while a fleet is started (START_TIMEOUT in `triggers`)."""
TRIALS_AT_ONCE, MEASURES_AT_ONCE = 10_000, 250_000
"""Rows of a transaction of a reset, which must be shorter than REQUEST_TIMEOUT."""


class ResetUnfinished(DatabaseUnreachable):
    """Not all failed trials could be reset in time. What was done is kept."""

    code, passes = "ResetUnfinished", True
    advice = "Create an index on measure_outcome (trial_id), and repeat the retry."


def reset_failed(uri: str, experiment_id: int, seconds: float = RESET_SECONDS) -> int:
    """Requeue the experiment's failed trials, in short transactions. Returns how many.

    Deletes their measurements and errors, and what they count in the app's tables: losses, and the VM
    that ran them. No other call, and no VM, may work on the experiment. Raises ResetUnfinished,
    DatabaseUnreachable.
    """
    until = monotonic() + seconds
    failed, has_index = _to_reset(uri, experiment_id)
    done = 0

    def check_time() -> None:
        if monotonic() > until:
            raise ResetUnfinished(
                f"{done:,} of {len(failed):,} failed trials of experiment {experiment_id} were reset in "
                f"{seconds:g} s, for the table measure_outcome is large. No fleet was started. The next "
                "retry continues; an index makes it fast: "
                "CREATE INDEX CONCURRENTLY ON measure_outcome (trial_id)."
            )

    last: int | None = None if has_index or not failed else 0
    while last is not None:  # as Powerlift creates the table: one scan, in parts
        check_time()
        last = _forget_part(uri, experiment_id, last)
    for at in range(0, len(failed), TRIALS_AT_ONCE):
        check_time()
        with _short(uri) as cursor:
            found = rows(cursor, _RESET, (failed[at : at + TRIALS_AT_ONCE],))
            reset = [trial for (trial,) in found]
            if has_index:
                cursor.execute(_FORGET, (reset,))
            for table, statement in _FORGET_OWN.items():
                if may(cursor, table, "SELECT", "DELETE"):
                    cursor.execute(statement, (reset,))
        done += len(reset)
    return done


def _to_reset(uri: str, experiment_id: int) -> tuple[list[int], bool]:
    """The failed trials, and whether an index finds the measures of a trial."""
    with _short(uri) as cursor:
        failed = [trial for (trial,) in rows(cursor, _FAILED, (experiment_id,))]
        [(has_index,)] = rows(cursor, _HAS_INDEX, ())
    return failed, has_index


def _forget_part(uri: str, experiment_id: int, after: int) -> int | None:
    """Delete the failed trials' measures among the next ones; returns the last of these, if any."""
    with _short(uri) as cursor:
        [(first, last)] = rows(cursor, _PART, (after, MEASURES_AT_ONCE))
        cursor.execute(_FORGET_FAILED, (first, last, experiment_id))
    return None if last is None else int(last)


@contextmanager
def _short(uri: str) -> Iterator[Any]:
    with connected(uri, REQUEST_TIMEOUT, REQUEST_TIMEOUT) as database, database.cursor() as cursor:
        yield cursor


_FAILED = """
    SELECT id FROM trial
    WHERE experiment_id = %s AND end_time IS NOT NULL AND errmsg IS NOT NULL ORDER BY id
"""
_HAS_INDEX = """
    SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute AS led ON led.attrelid = indrelid
                   WHERE indrelid = to_regclass('measure_outcome') AND indisvalid AND indpred IS NULL
                     AND led.attnum = indkey[0] AND led.attname = 'trial_id')
"""
_PART = """
    SELECT min(id), max(id)
    FROM (SELECT id FROM measure_outcome WHERE id > %s ORDER BY id LIMIT %s) AS part
"""
_FORGET_FAILED = """
    DELETE FROM measure_outcome USING trial
    WHERE measure_outcome.id BETWEEN %s AND %s AND trial.id = trial_id
      AND experiment_id = %s AND end_time IS NOT NULL AND errmsg IS NOT NULL
"""
_RESET = """
    UPDATE trial SET runner_id = -1, start_time = NULL, end_time = NULL, errmsg = NULL
    WHERE id IN (SELECT id FROM trial WHERE id = ANY(%s) ORDER BY id FOR UPDATE)
      AND end_time IS NOT NULL AND errmsg IS NOT NULL
    RETURNING id
"""
_FORGET = "DELETE FROM measure_outcome WHERE trial_id = ANY(%s)"
_FORGET_OWN = {
    table: f"DELETE FROM {table} WHERE trial_id = ANY(%s)"  # noqa: S608 - a constant
    for table in ("powerlift_fleet_loss", "powerlift_fleet_trial")
}
