"""An experiment's trials over time, from Powerlift's own tables.

Their timestamps are naive, in the server's time zone, which is also the session's.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.model.records import Trials
from fleet.store.database import brief_transaction, may_read, rows

POINTS = 240
"""Maximum length of a series."""
ERROR_TAIL = 4000
"""Characters at the end of an error that are searched for the exception's message."""
ERROR_SEARCHED = 1_000_000
"""Bytes. The end of a longer error is not read, because PostgreSQL decompresses all before it."""


@dataclass(frozen=True, slots=True)
class TrialHistory:
    """An experiment's trials since a fleet started."""

    as_of: datetime
    experiment: str | None
    """Its name; None if it does not exist."""
    trials: Trials
    step: float
    """Seconds."""
    complete: Sequence[int]
    """Cumulative count of successful trials at the end of each step. The first element counts those
    before the fleet, which the others exclude."""
    error: Sequence[int]
    error_messages: Sequence[tuple[str, int]] = ()
    """Errors of the fleet's time, as the exception's name and the first line of its message, and
    their counts, most frequent first. Those that differ only in numbers are grouped."""
    cpu_models: Sequence[tuple[str, int, int]] = ()
    """The processors that ran the experiment's successful trials, with their VMs and trials."""


def load_history(uri: str, experiment_id: int, began: str, ended: str | None) -> TrialHistory:
    """Load the history from `began` to `ended` (ISO 8601), or to now. Raises DatabaseUnreachable.

    Trials that have started since `ended`, in another fleet, are ready in it.
    """
    with brief_transaction(uri) as cursor:
        [(as_of, seconds)] = rows(cursor, _SPAN, {"began": began, "ended": ended})
        step = max(1.0, float(seconds) / POINTS)
        named = rows(cursor, _EXPERIMENT, (experiment_id,))
        task = {
            "experiment": experiment_id, "began": began, "ended": ended, "step": step,
            "tail": ERROR_TAIL,
        }  # fmt: skip
        found = rows(cursor, _ENDED, task)
        [(ready, running)] = rows(cursor, _OPEN, task)
        messages = rows(cursor, _ERRORS, task)
        known = may_read(cursor, "powerlift_fleet_runner", "powerlift_fleet_trial")
        cpu_models = rows(cursor, _CPU_MODELS, (experiment_id,)) if known else []
    # Clamped to POINTS, which float division may exceed.
    steps = 1 + min(POINTS, max(0, math.ceil(float(seconds) / step)))
    complete, error = (_by_step(found, steps, failed) for failed in (False, True))
    completed, failed = sum(complete), sum(error)
    return TrialHistory(
        as_of,
        named[0][0] if named else None,
        {
            "total": ready + running + completed + failed,
            "ready": ready,
            "running": running,
            "complete": completed,
            "error": failed,
        },
        step,
        [complete[0], *itertools.accumulate(complete[1:])],
        [error[0], *itertools.accumulate(error[1:])],
        messages,
        cpu_models,
    )


def exception_line(error: str) -> str:
    """The exception's name and the first line of its message, as `_ERRORS` finds them in an error."""
    _, frame, after = error.rpartition('\n  File "')
    found = re.search(r"\n(\S[^\n]*)", after) if frame else None
    return found[1] if found else error.rpartition("\n")[2]


def _by_step(found: Iterable[tuple[int, bool, int]], steps: int, failed: bool) -> list[int]:
    """Trials finished per step; the last step includes later ones."""
    counts = [0] * max(steps, 2)
    for step, has_failed, count in found:
        if has_failed is failed:
            counts[min(step, len(counts) - 1)] += count
    return counts


_SPAN = """
    SELECT as_of, extract(epoch FROM as_of - %(began)s::timestamptz)
    FROM (SELECT coalesce(%(ended)s::timestamptz, now()) AS as_of) AS span
"""
_EXPERIMENT = "SELECT left(name, 256) FROM experiment WHERE id = %s"
# Trials write their times and errors themselves: infinity has no seconds, and a step of the year 200,000
# is no integer.
_END = "least(greatest(end_time, '0002-01-01'), '9998-12-31')::timestamptz"
_LATER = """(%(ended)s::timestamptz
    < least(greatest(start_time, '0002-01-01'), '9998-12-31')::timestamptz) IS TRUE"""
_ENDED = f"""
    SELECT CASE WHEN since < 0 THEN 0 ELSE least({POINTS + 1}, 1 + floor(since / %(step)s)) END::integer,
           failed, count(*)
    FROM (SELECT extract(epoch FROM {_END} - %(began)s::timestamptz) AS since,
                 errmsg IS NOT NULL AS failed
          FROM trial WHERE experiment_id = %(experiment)s AND end_time IS NOT NULL AND NOT {_LATER}
         ) AS ended
    GROUP BY 1, 2
"""  # noqa: S608 - constants
_OPEN = f"""
    SELECT count(*) FILTER (WHERE start_time IS NULL OR {_LATER}),
           count(*) FILTER (WHERE start_time IS NOT NULL AND NOT {_LATER})
    FROM trial WHERE experiment_id = %(experiment)s AND (end_time IS NULL OR {_LATER})
"""  # noqa: S608 - constants
ERROR_TEXT = f"""
    CASE WHEN octet_length(errmsg) > {ERROR_SEARCHED}
         THEN format('Error text of %%s MB', octet_length(errmsg) / 1000000)
         WHEN length(errmsg) > %(tail)s  -- from a word's beginning, as redaction.after_cut
         THEN rtrim(regexp_replace(right(errmsg, %(tail)s), '^\\S*\\s?', ''), E' \\n\\r\\t')
         ELSE rtrim(errmsg, E' \\n\\r\\t') END
"""
"""SQL of the end of `errmsg`; `tail` is ERROR_TAIL."""
# The exception follows the last frame, as the first line that is not indented; more of its message may
# follow, such as SQLAlchemy's "(Background on this error at: …)". Without a traceback: the last line.
# Reversed because split_part counts from the front; materialized so that a long text is read once.
_ERRORS = f"""
    WITH failed AS MATERIALIZED (
        SELECT {ERROR_TEXT} AS said
        FROM trial WHERE experiment_id = %(experiment)s AND errmsg IS NOT NULL
          AND {_END} >= %(began)s::timestamptz AND NOT {_LATER}),
    parted AS MATERIALIZED (
        SELECT said, reverse(split_part(reverse(said), reverse(E'\\n  File "'), 1)) AS after_frame
        FROM failed),
    shown AS (
        SELECT coalesce(
            CASE WHEN said <> after_frame THEN substring(after_frame FROM E'\\n(\\\\S[^\\n]*)') END,
            reverse(split_part(reverse(said), E'\\n', 1))) AS line
        FROM parted)
    SELECT min(line), count(*) FROM shown
    GROUP BY regexp_replace(line, '[0-9]+', '#', 'g')
    ORDER BY 2 DESC, 1 LIMIT 8
"""  # noqa: S608 - constants
# VMs write the names. A VM that ended before the trial was created ran another one, before Powerlift's
# tables were recreated. By VM first: count(DISTINCT …) would sort all trials.
_CPU_MODELS = """
    SELECT model, count(*), sum(trials)::bigint
    FROM (SELECT left(ran.cpu_model, 100) AS model, ran.runner_id, count(*) AS trials
          FROM powerlift_fleet_trial AS noted
          JOIN trial ON trial.id = noted.trial_id AND trial.experiment_id = noted.experiment_id
          JOIN powerlift_fleet_runner AS ran
              ON ran.experiment_id = noted.experiment_id AND ran.runner_id = noted.runner_id
          WHERE noted.experiment_id = %s AND trial.end_time IS NOT NULL AND trial.errmsg IS NULL
            AND ran.cpu_model IS NOT NULL
            AND (ran.ended_at IS NULL OR ran.ended_at >= trial.create_time)
          GROUP BY 1, 2) AS by_vm
    GROUP BY model ORDER BY 3 DESC, 1 LIMIT 8
"""
