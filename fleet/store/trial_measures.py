"""The numeric measures of some trials, without reading the measures of all others.

Powerlift's table has no index on `trial_id`, so that many VMs can insert. Its IDs ascend with its times,
so the rows of a trial lie between the IDs of its start and its end, which a binary search finds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from fleet.store.database import rows

MAX_MEASURES = 8
"""Of one trial."""
SLACK = timedelta(minutes=1)
"""Longer than a transaction that inserts a measure: its time is that of the transaction's start."""
MAX_IDS = 2_000_000
"""Measures that are read for a page, within a second: trials write their times themselves."""


def load_measures(cursor: Any, trials: Sequence[int]) -> dict[int, dict[str, float]]:
    """The latest finite value of each numeric measure by trial, the first measured first.

    Without those of trials that have run, or claim to, while more than MAX_IDS were measured.
    """
    begun = rows(cursor, _TIMES, (list(trials),))
    times = [(start, end) for start, end, _ in begun]
    ranges = _id_ranges(cursor, _merged(times))
    if sum(high - low for low, high in ranges) > MAX_IDS:
        ranges = _smallest(
            _id_ranges(cursor, [(start - SLACK, end + SLACK) for start, end in times])
        )
    found = _between(cursor, trials, ranges)
    if not found and any(is_complete for *_, is_complete in begun):
        # The times do not ascend: measures copied from another database, or a clock that was set back.
        found = _between(cursor, trials, _newest(cursor))
    return found


def _between(
    cursor: Any, trials: Sequence[int], ranges: Sequence[tuple[int, int]]
) -> dict[int, dict[str, float]]:
    lows, highs = [low for low, _ in ranges], [high for _, high in ranges]
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for trial, name, text in rows(cursor, _MEASURES, (lows, highs, list(trials))):
        if (value := _number(text)) is not None:
            found[trial][name] = value
    return found


def _merged(
    times: Iterable[tuple[datetime, datetime]],
) -> list[tuple[datetime, datetime]]:
    """Ranges that cover the given ones with their slack, and do not overlap."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(times):
        begin, limit = start - SLACK, end + SLACK
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(limit, merged[-1][1])
        else:
            merged.append((begin, limit))
    return merged


def _id_ranges(cursor: Any, times: list[tuple[datetime, datetime]]) -> list[tuple[int, int]]:
    """For each range of times, the ID of its first measure, and that of the first one after it."""
    wanted = [moment for pair in times for moment in pair]
    by_time = dict(rows(cursor, _SEARCH, (wanted,)))
    return [(by_time[start], by_time[end]) for start, end in times if start in by_time]


def _smallest(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges that fit into MAX_IDS, without repetitions."""
    left, chosen = MAX_IDS, []
    for low, high in sorted(set(ranges), key=lambda pair: pair[1] - pair[0]):
        left -= high - low
        if left < 0:
            break
        chosen.append((low, high))
    return chosen


def _newest(cursor: Any) -> list[tuple[int, int]]:
    [(last,)] = rows(cursor, "SELECT coalesce(max(id), 0) FROM measure_outcome")
    return [(last + 1 - MAX_IDS, last + 1)]


def _number(text: str) -> float | None:
    """None unless it is a finite number: the trial wrote it."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# Without a time zone, as Powerlift stores them. Trials write their times themselves.
_TIMES = """
    SELECT least(greatest(start_time, '0002-01-01'), '9998-12-30'),
           least(greatest(coalesce(end_time, '9998-12-30'), start_time, '0002-01-01'), '9998-12-30'),
           end_time IS NOT NULL AND errmsg IS NULL
    FROM trial WHERE id = ANY(%s) AND start_time IS NOT NULL
"""
_SEARCH = """
    WITH RECURSIVE probe AS (
        SELECT wanted, low, high FROM unnest(%s::timestamp[]) AS wanted,
            (SELECT min(id)::bigint AS low, max(id)::bigint + 1 AS high FROM measure_outcome) AS every
        UNION ALL
        SELECT wanted, CASE WHEN found.at < wanted THEN found.id + 1 ELSE low END,
               CASE WHEN found.at < wanted THEN high ELSE middle END
        FROM (SELECT *, (low + high) / 2 AS middle FROM probe WHERE low < high) AS half,
            LATERAL (SELECT id, "timestamp" AS at FROM measure_outcome WHERE id >= middle
                     ORDER BY id LIMIT 1) AS found)
    SELECT wanted, low FROM probe WHERE low >= high
"""
# Type 0: a number. In the order in which they were first measured.
_MEASURES = f"""
    SELECT trial_id, name, val FROM (
        SELECT trial_id, name, (array_agg(val ORDER BY seq_num DESC, id DESC))[1] AS val,
               row_number() OVER (PARTITION BY trial_id ORDER BY min(id)) AS place
        FROM unnest(%s::bigint[], %s::bigint[]) AS span (low, high), LATERAL (
            SELECT id, trial_id, left(name, 64) AS name, seq_num, val FROM measure_outcome
            WHERE id >= low AND id < high AND trial_id = ANY(%s) AND type = 0 AND length(val) <= 40
        ) AS one
        GROUP BY trial_id, name) AS measured
    WHERE place <= {MAX_MEASURES} ORDER BY trial_id, place
"""  # noqa: S608 - constants
