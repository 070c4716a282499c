"""NCRONTAB schedules: `{second} {minute} {hour} {day} {month} {day-of-week}`, in UTC.

The first field is optional. Unlike in cron, day *and* day of week must match.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

_MONTHS = [name.lower() for name in calendar.month_abbr[1:]]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: Sequence[tuple[str, int, int, Sequence[str]]] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),  # 0 and 7 are Sunday
)
_MAX_DAYS = 8 * 366  # February 29 is at most eight years away


@dataclass(frozen=True)
class Schedule:
    """A schedule: the allowed values of each field."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Parse a schedule of five or six fields. Raises ValueError."""
        parts = text.split()
        if len(parts) == 5:
            parts = ["0", *parts]
        if len(parts) != 6:
            raise ValueError(f"schedule '{text}' has {len(parts)} fields, must have 5 or 6")
        values = [_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)]
        values[5] = frozenset(day % 7 for day in values[5])
        return cls(*values)

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment`. Raises ValueError for a day that never occurs."""
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        for offset in range(_MAX_DAYS):
            day = start.date() + timedelta(days=offset)
            if (
                day.month in self.months
                and day.day in self.days
                and day.isoweekday() % 7 in self.weekdays
            ):
                of_day = self._first_time(start.time() if offset == 0 else time())
                if of_day is not None:
                    return datetime.combine(day, of_day, UTC)
        raise ValueError("the schedule has a day that never occurs")

    def _first_time(self, earliest: time) -> time | None:
        floor = (earliest.hour, earliest.minute, earliest.second)
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                if (hour, minute) < floor[:2]:
                    continue
                for second in sorted(self.seconds):
                    if (hour, minute, second) >= floor:
                        return time(hour, minute, second)
        return None


def _field(text: str, name: str, low: int, high: int, words: Sequence[str]) -> frozenset[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            if span == "*":
                begin, end = low, high
            else:
                begin = _number(first, low, words)
                end = _number(last, low, words) if dash else high if step else begin
            stride = int(step) if step else 1
        except ValueError:
            raise ValueError(f"'{part}' is not a {name} in a schedule") from None
        if not low <= begin <= end <= high or stride < 1:
            raise ValueError(f"'{part}' is not a {name} from {low} to {high}")
        values.update(range(begin, end + 1, stride))
    return frozenset(values)


def _number(text: str, low: int, words: Sequence[str]) -> int:
    lowered = text.lower()[:3]
    return words.index(lowered) + low if lowered in words else int(text)
