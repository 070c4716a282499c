from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from local.functions.ncrontab import Schedule


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/10 * * * * *", "2026-11-23T10:00:01", "2026-11-23T10:00:10"),
        ("0 */5 * * * *", "2026-11-23T10:00:00", "2026-11-23T10:05:00"),
        ("*/5 * * * *", "2026-11-23T10:04:59", "2026-11-23T10:05:00"),
        ("0 30 9-10 * * *", "2026-11-23T10:30:00", "2026-11-24T09:30:00"),
        ("0 0 9 * * Mon-Fri", "2026-11-27T09:00:00", "2026-11-30T09:00:00"),
        ("0 0 0 1 Jan,Jul *", "2026-11-23T00:00:00", "2027-01-01T00:00:00"),
        ("0 0 0 29 2 *", "2026-11-23T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 0 * * 7", "2026-11-23T00:00:00", "2026-11-29T00:00:00"),
        ("0 0 0 13 * 5", "2026-11-14T00:00:00", "2027-08-13T00:00:00"),  # day AND day of week
        ("0 10/20 * * * *", "2026-11-23T10:31:00", "2026-11-23T10:50:00"),
    ],
)
def test_next_time(schedule: str, after: str, expected: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)

    assert Schedule.parse(schedule).next_after(moment).isoformat()[:19] == expected


@pytest.mark.parametrize("schedule", ["* * *", "61 * * * * *", "* * * * Foo *", "*/0 * * * * *"])
def test_an_invalid_schedule_is_rejected(schedule: str) -> None:
    with pytest.raises(ValueError, match=r"must have|not a "):
        Schedule.parse(schedule)


def test_a_timer_calls_its_function(make_host: Any) -> None:
    with make_host("triggers", TIMER_SCHEDULE="* * * * * *") as host:
        assert host.until(lambda: host.journal("ticks"), lambda ticks: len(ticks) >= 2)


def test_a_time_missed_while_no_host_was_running_is_past_due(make_host: Any) -> None:
    with make_host("triggers", start=False, TIMER_SCHEDULE="0 0 0 1 1 *") as host:
        state = host.state / "timers" / "tick.json"
        state.parent.mkdir(parents=True)
        state.write_text(json.dumps({"next": "2020-01-01T00:00:00+00:00"}))

        host.start()
        ticks = host.until(lambda: host.journal("ticks"), bool)

    assert ticks == ["late"]
