"""The list of an experiment's trials, page by page, from Powerlift's tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from fleet.store.database import REQUEST_TIMEOUT, connected, may, rows
from fleet.store.trial_history import ERROR_TAIL, ERROR_TEXT

STATES = {
    "ready": "t.end_time IS NULL AND t.start_time IS NULL",
    "running": "t.end_time IS NULL AND t.start_time IS NOT NULL",
    "complete": "t.end_time IS NOT NULL AND t.errmsg IS NULL",
    "failed": "t.end_time IS NOT NULL AND t.errmsg IS NOT NULL",
}
"""The condition of each state."""
MAX_MEASURES = 8
"""Of one trial."""


@dataclass(frozen=True, slots=True)
class TrialFilter:
    state: str | None = None
    """One of STATES."""
    limit: int = 100
    after: int = -1
    """ID of the previous page's last trial."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial. Texts are cut off."""

    id: int
    task: str
    origin: str
    method: str
    meta: str
    replicate: int
    state: str
    runner_id: int | None
    """Of the VM that runs it or ran it last; None if unknown."""
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    error: str | None
    """The end of its error, in whole lines, with the traceback; None if it has not failed."""
    measures: dict[str, float] = field(default_factory=dict)
    """The latest finite value of each numeric measure, the first measured first."""


def load_trials(uri: str, experiment_id: int, wanted: TrialFilter) -> list[TrialRow]:
    """A page of trials, by ID. Raises DatabaseUnreachable."""
    with connected(uri, REQUEST_TIMEOUT, REQUEST_TIMEOUT) as database, database.cursor() as cursor:
        tables = ("powerlift_fleet_runner", "powerlift_fleet_trial")
        knows_vms = all(may(cursor, table, "SELECT") for table in tables)
        statement = _TRIALS.format(
            state=STATES[wanted.state] if wanted.state else "true",
            runner=_RUNNER if knows_vms else "NULL",
            noted=_NOTED if knows_vms else "",
        )
        values = {
            "experiment": experiment_id,
            "after": wanted.after,
            "limit": wanted.limit,
            "tail": ERROR_TAIL,
        }
        found = [
            TrialRow(*[*others, _complete_lines(error, size)])
            for *others, error, size in rows(cursor, statement, values)
        ]
        measured = rows(cursor, _MEASURES, ([one.id for one in found],))
    by_id = {one.id: one for one in found}
    for trial, name, text in measured:
        if (value := _number(text)) is not None:
            by_id[trial].measures[name] = value
    return found


def _complete_lines(error: str | None, size: int | None) -> str | None:
    """The error without its first line if that is cut off: half a password would not be redacted."""
    if error is None or size is None or size <= ERROR_TAIL or "\n" not in error:
        return error
    return f"…\n{error.partition(chr(10))[2]}"


def _number(text: str) -> float | None:
    """None unless it is a finite number: the trial wrote it."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# Trials write their times and errors themselves.
_TIME = "CASE WHEN {0} BETWEEN '0002-01-01' AND '9998-12-31' THEN {0}::timestamptz END"
_STATE = " ".join(f"WHEN {condition} THEN '{name}'" for name, condition in STATES.items())
_RUNNER = """
    CASE WHEN t.runner_id >= 0 THEN t.runner_id WHEN t.end_time IS NOT NULL THEN noted.runner_id END
"""
# A trial that was created after its VM has ended is another one: see vm_records.
_NOTED = """
    LEFT JOIN powerlift_fleet_trial AS noted ON noted.trial_id = t.id
        AND noted.experiment_id = t.experiment_id
        AND NOT EXISTS (SELECT FROM powerlift_fleet_runner AS ran
                        WHERE ran.experiment_id = noted.experiment_id
                          AND ran.runner_id = noted.runner_id AND ran.ended_at < t.create_time)
"""
_TRIALS = f"""
    SELECT t.id, left(task.name, 256), left(task.origin, 256), left(t.method, 256),
           left(t.meta, 1000), t.replicate_num, CASE {_STATE} END, {{runner}},
           {_TIME.format("t.start_time")}, {_TIME.format("t.end_time")},
           CASE WHEN isfinite(t.start_time) AND t.end_time BETWEEN t.start_time AND '9998-12-31'
                THEN extract(epoch FROM t.end_time - t.start_time)::double precision END,
           CASE WHEN {STATES["failed"]} THEN {ERROR_TEXT} END, octet_length(t.errmsg)
    FROM trial AS t JOIN task ON task.id = t.task_id {{noted}}
    WHERE t.experiment_id = %(experiment)s AND t.id > %(after)s AND {{state}}
    ORDER BY t.id LIMIT %(limit)s
"""  # noqa: S608 - constants
# Type 0: a number. In the order in which they were first measured.
_MEASURES = f"""
    SELECT trial_id, name, val FROM (
        SELECT trial_id, left(name, 64) AS name,
               (array_agg(val ORDER BY seq_num DESC, id DESC))[1] AS val,
               row_number() OVER (PARTITION BY trial_id ORDER BY min(id)) AS place
        FROM measure_outcome
        WHERE trial_id = ANY(%s) AND type = 0 AND length(val) <= 40
        GROUP BY trial_id, left(name, 64)) AS measured
    WHERE place <= {MAX_MEASURES} ORDER BY trial_id, place
"""  # noqa: S608 - constants
