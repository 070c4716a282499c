"""Waits on durable timers that fire up to a second early: never too short, with a heartbeat."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import azure.durable_functions as df
import pytest

from fleet.model.custom_status import MAX_TIMER_SECONDS
from fleet.model.failure import failure
from orchestrators.fleet import run_fleet
from orchestrators.patterns import (
    Context,
    Orchestration,
    call_with_retry,
    receive,
    sleep,
    sleep_unless,
)
from orchestrators.teardown import teardown_fleet
from tests.fleets import fleet_of, order
from tests.orchestrators.play import Execution, play

ORDER = order(run_poll_seconds=30.0, boot_poll_seconds=10.0, created_at="2026-01-01T00:00:00Z")
SECONDS = (0.05, 1.0, 1.2, 2.0, 2.7, 3.8, 30.0, 59.4, 300.0)
bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def waiting(context: Context) -> Orchestration:
    """Seconds to wait -> how long each kind of wait took."""
    event = context.wait_for_external_event("never")
    yield from receive(context, event)
    times = [context.current_utc_datetime]
    yield from sleep(context, context.get_input())
    times.append(context.current_utc_datetime)
    yield from sleep_unless(context, event, context.get_input())
    times.append(context.current_utc_datetime)
    return [(end - start).total_seconds() for start, end in pairwise(times)]


@bp.orchestration_trigger(context_name="context")
def trying(context: Context) -> Orchestration:
    return (yield from call_with_retry(context, "activity", {}))


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_wait_is_never_short_and_at_most_two_seconds_too_long(seconds: float):
    for took in play(waiting, seconds, {}).output:
        assert seconds <= took <= seconds + 2


def test_no_wait_is_shorter_than_a_second():
    assert min(play(waiting, 0.01, {}).output) >= 1


def test_a_wait_takes_one_timer():
    """A timer set for the exact end would fire early, and need several more."""
    receiving, sleeping, sleeping_unless = 1, 1, 1
    assert play(waiting, 9.7, {}).timers == receiving + sleeping + sleeping_unless


def test_receiving_an_event_does_not_wait():
    took = play(waiting, 5.0, {})
    assert took.took - sum(took.output) < 1


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_throttled_call_respects_retry_after(seconds: float):
    throttled_failure: Any = {**failure("TooManyRequests", "", "wait", ""), "retry_after": seconds}
    answers = [{"ok": True}, {"ok": False, "failure": throttled_failure}]
    first, second = play(trying, None, {"activity": lambda _: answers.pop()}).at
    assert second - first >= seconds


def torn_down(run_poll_seconds: float, retry_after: float) -> Execution:
    """A teardown in which Azure refuses the first deletion."""
    role = {"kind": "assignment", "name": "role", "scope": "/subscriptions/s"}
    left = [[], [], [role]]
    tried = {"ok": True, "deleted": 0, "refused": {"Busy": 1}, "retry_after": retry_after}
    answers = {
        "list_owned_resources": lambda _: {
            "ok": True, "delete": left.pop(), "waiting": 0, "machines": None,
        },
        "delete_owned_resources": lambda _: tried,
    }  # fmt: skip
    task = {"order": {**ORDER, "run_poll_seconds": run_poll_seconds}, "keep_machines": False}
    return play(teardown_fleet, task, answers)


def test_a_throttled_deletion_respects_retry_after():
    played = torn_down(0.3, 17.3)
    (tried,) = [at for at, (name, _) in zip(played.at, played.calls, strict=True) if "del" in name]
    assert played.at[-2] - tried >= 17.3


def test_lists_are_at_least_a_second_apart():
    played = torn_down(0.05, 0.0)
    list_times = [
        at for at, (name, _) in zip(played.at, played.calls, strict=True) if "list" in name
    ]
    assert min(after - at for at, after in pairwise(list_times)) >= 1


@pytest.mark.long
def test_a_long_wait_has_a_heartbeat():
    assert play(waiting, 1200.0, {}).silence <= MAX_TIMER_SECONDS + 1


def cancelled() -> Execution:
    """A fleet that finds its cancel mark in a new history."""
    fleet = fleet_of("running", created_at="2026-01-01T00:00:00Z")
    fleet.phase = "run"
    done = {"ok": True, "deleted": 1, "left": [], "machines": 0, "unreleased": None}
    snapshot = {"ok": True, "trials": None, "silent": [], "done": [], "vms_failure": None}
    answers = {
        "was_cancelled": lambda _: {"ok": True, "cancelled": True},
        "teardown_fleet": lambda _: done,
        "record_snapshot": lambda _: snapshot,
        "report_completion": lambda _: {"ok": True},
    }
    return play(run_fleet, fleet.write(), answers, version="1.0")


def test_a_fleet_reports_the_version_that_started_it():
    assert cancelled().output["summary"]["version"] == "1.0"
