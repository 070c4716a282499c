"""How an experiment's trials went over time, out of Powerlift's own tables.

Their times bear no zone: they are the server's, as is every session here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleet.model.records import Trials
from fleet.store.database import ANSWER_PATIENCE, connected, rows

POINTS = 240
"""Of a series, at most."""
LONGEST = 2000
"""Characters of an error's line."""


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
    why: Sequence[tuple[str, int]] = ()
    """What trials failed with since the fleet began, the most frequent first: the last line of an error,
    and how often. Lines that differ in their numbers alone count as one."""


def course(uri: str, experiment_id: int, began: str, ended: str | None) -> Course:
    """An experiment's trials from one time to another, or to now (ISO 8601).

    Raises DatabaseUnreachable.
    """
    with connected(uri, ANSWER_PATIENCE, ANSWER_PATIENCE) as database, database.cursor() as cursor:
        [(as_of, seconds)] = rows(cursor, _SPAN, {"began": began, "ended": ended})
        step = max(1.0, float(seconds) / POINTS)
        names_ = rows(cursor, _EXPERIMENT, (experiment_id,))
        task = {"experiment": experiment_id, "began": began, "step": step, "longest": LONGEST}
        found = rows(cursor, _ENDED, task)
        [(ready, running)] = rows(cursor, _OPEN, (experiment_id,))
        why = rows(cursor, _WHY, task)
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
        why,
    )


def _by_step(found: Iterable[tuple[int, bool, int]], steps: int, failed: bool) -> list[int]:
    """How many trials ended in each step; what ended after the last counts there."""
    counts = [0] * max(steps, 2)
    for step, has_failed, count in found:
        if has_failed is failed:
            counts[min(step, len(counts) - 1)] += count
    return counts


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
# A traceback ends with what went wrong. Turned around, since split_part counts from the front.
_WHY = """
    SELECT min(line), count(*)
    FROM (SELECT reverse(split_part(
              reverse(right(rtrim(errmsg, E' \\n\\r\\t'), %(longest)s)), E'\\n', 1)) AS line
          FROM trial WHERE experiment_id = %(experiment)s AND errmsg IS NOT NULL
            AND end_time::timestamptz >= %(began)s::timestamptz) AS failed
    GROUP BY regexp_replace(line, '[0-9]+', '#', 'g')
    ORDER BY 2 DESC, 1 LIMIT 8
"""
