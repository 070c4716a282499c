"""Resets the failed trials of an experiment, for a retry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from fleet.store.database import REQUEST_TIMEOUT, DatabaseUnreachable, may, rows, transaction

RESET_SECONDS = 12.0
"""For the reset of failed trials, while a fleet is started: less than PREPARE_TIMEOUT in `triggers`."""
TRIALS_AT_ONCE, MEASURES_AT_ONCE = 10_000, 100_000
"""Rows of a transaction of a reset, which must be shorter than REQUEST_TIMEOUT."""
SCANS_KEPT = 4


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
    reset = _Reset(uri, experiment_id, seconds, monotonic() + seconds)
    has_index = reset.find()
    if not has_index:
        reset.forget_by_scan()
    for at in range(0, len(reset.failed), TRIALS_AT_ONCE):
        part = reset.failed[at : at + TRIALS_AT_ONCE]
        while has_index and reset.forget(part):
            pass
        reset.requeue(part)
    _scans.pop((uri, experiment_id), None)
    return reset.done


@dataclass(slots=True)
class _Scan:
    """Up to the ID `last`, measure_outcome has no measures of `trials`; later ones get higher IDs."""

    trials: frozenset[int]
    last: int = 0


_scans: dict[tuple[str, int], _Scan] = {}
"""Unfinished ones by database and experiment: without an index, a table has no other trace of them."""


@dataclass(slots=True)
class _Reset:
    uri: str
    experiment_id: int
    seconds: float
    until: float
    failed: list[int] = field(default_factory=list)
    done: int = 0

    def find(self) -> bool:
        """Read the failed trials. Returns whether an index finds the measures of a trial."""
        with self._short() as cursor:
            self.failed = [trial for (trial,) in rows(cursor, _FAILED, (self.experiment_id,))]
            [(has_index,)] = rows(cursor, _HAS_INDEX, ())
        return bool(has_index)

    def forget_by_scan(self) -> None:
        """Delete the failed trials' measures as Powerlift creates the table: one scan, in parts."""
        key = self.uri, self.experiment_id
        scan = _scans.pop(key, None)
        if scan is None or not scan.trials.issuperset(self.failed):
            scan = _Scan(frozenset(self.failed))
        _scans[key] = scan
        for oldest in list(_scans)[:-SCANS_KEPT]:
            _scans.pop(oldest, None)
        last: int | None = scan.last if self.failed else None
        while last is not None:
            scan.last = last
            with self._short() as cursor:
                [(first, last)] = rows(cursor, _PART, (last, MEASURES_AT_ONCE))
                cursor.execute(_FORGET_FAILED, (first, last, self.experiment_id))

    def forget(self, trials: list[int]) -> int:
        """Delete some of the trials' measures by the index. Returns how many."""
        with self._short() as cursor:
            cursor.execute(_FORGET, (trials, MEASURES_AT_ONCE))
            return int(cursor.rowcount)

    def requeue(self, trials: list[int]) -> None:
        with self._short() as cursor:
            reset = [trial for (trial,) in rows(cursor, _RESET, (trials,))]
            for table, statement in _FORGET_OWN.items():
                if may(cursor, table, "SELECT", "DELETE"):
                    cursor.execute(statement, (reset,))
        self.done += len(reset)

    @contextmanager
    def _short(self) -> Iterator[Any]:
        """A transaction that gets what is left of the time."""
        left = self.until - monotonic()
        if left <= 0:
            raise self._unfinished()
        limit = min(REQUEST_TIMEOUT, left)
        try:
            with transaction(self.uri, limit, limit) as cursor:
                yield cursor
        except DatabaseUnreachable as error:
            if monotonic() < self.until:
                raise
            raise self._unfinished() from error

    def _unfinished(self) -> ResetUnfinished:
        return ResetUnfinished(
            f"{self.done:,} of {len(self.failed):,} failed trials of experiment {self.experiment_id} "
            f"were reset in {self.seconds:g} s, for the table measure_outcome is large or locked. No "
            "fleet was started. The next retry continues, unless the app restarts meanwhile; an index "
            "makes it fast: CREATE INDEX CONCURRENTLY ON measure_outcome (trial_id)."
        )


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
_FORGET = """
    DELETE FROM measure_outcome WHERE id = ANY(ARRAY(
        SELECT measure_outcome.id FROM measure_outcome JOIN trial ON trial.id = trial_id
        WHERE trial_id = ANY(%s) AND end_time IS NOT NULL AND errmsg IS NOT NULL LIMIT %s))
"""
_RESET = """
    UPDATE trial SET runner_id = -1, start_time = NULL, end_time = NULL, errmsg = NULL
    WHERE id IN (SELECT id FROM trial WHERE id = ANY(%s) ORDER BY id FOR UPDATE)
      AND end_time IS NOT NULL AND errmsg IS NOT NULL
    RETURNING id
"""
_FORGET_OWN = {
    table: f"DELETE FROM {table} WHERE trial_id = ANY(%s)"  # noqa: S608 - a constant
    for table in ("powerlift_fleet_loss", "powerlift_fleet_trial")
}
