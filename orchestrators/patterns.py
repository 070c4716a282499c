"""The few safe ways to call activities from an orchestrator.

In azure-functions-durable 1.x an exception that leaves a child of `task_all` while siblings are
pending gives wrong results or hangs (azure-functions-durable-python#603, won't fix). So a fan-out
has no durable retry: its activities return records, and what can be tried again is tried in rounds.

All waits are made here. A durable timer may fire up to a second early: the storage provider hides its
message for `fire_at` minus now, cut to whole seconds.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import azure.durable_functions as df

from activities.results import MARK
from fleet.model import failure_policy
from fleet.model.failure import failure
from fleet.model.records import Failure
from fleet.model.state import FleetState
from fleet.model.status import HEARTBEAT, custom_status

ROUNDS = 5
CHUNK = 50
"""Activities in one fan-out: each completion replays the whole history, so cost grows as its square."""

SHORTEST_WAIT = 1.0
"""Seconds: the provider would turn a shorter wait into none."""
EARLY = timedelta(seconds=1)
"""How much too early a timer may fire."""

FIRST_DELAY, LONGEST_DELAY = 2.0, 60.0
THROTTLE_PATIENCE = timedelta(minutes=30)
"""Waits of 20 minutes have been seen; a budget of attempts would be spent in one."""

Orchestration = Generator[Any, Any, Any]
Call = tuple[Any, dict[str, Any]]
"""An activity, and the task that it is given."""


class Context(Protocol):
    """What we use of `df.DurableOrchestrationContext`, which ships no types."""

    instance_id: str
    current_utc_datetime: datetime
    version: str | None
    """`defaultVersion` of the host that started the instance: docs/releasing.md."""

    def get_input(self) -> Any: ...
    def call_activity(self, name: Any, input_: Any) -> Any: ...
    def call_activity_with_retry(self, name: Any, retry_options: Any, input_: Any) -> Any: ...
    def call_sub_orchestrator(self, name: Any, input_: Any, instance_id: str) -> Any: ...
    def create_timer(self, fire_at: datetime) -> Any: ...
    def wait_for_external_event(self, name: str) -> Any: ...
    def task_all(self, tasks: list[Any]) -> Any: ...
    def task_any(self, tasks: list[Any]) -> Any: ...
    def set_custom_status(self, status: Any) -> None: ...
    def continue_as_new(self, input_: Any) -> None: ...


class FleetEnded(Exception):
    """The fleet is over before its work is: `phase` says how, `reason` why."""

    def __init__(self, phase: str, reason: Failure | None = None) -> None:
        super().__init__(phase)
        self.phase, self.reason = phase, reason


class Backoff(df.RetryOptions):  # type: ignore[misc]
    """Retry with exponential backoff: the host reads two members that the SDK does not know.

    Never `retryTimeoutInMilliseconds`: the host then stops without the timer that the SDK awaits.
    """

    def __init__(self, first_seconds: float = FIRST_DELAY, attempts: int = ROUNDS) -> None:
        super().__init__(int(first_seconds * 1000), attempts)

    def to_json(self) -> dict[str, Any]:
        longest = int(LONGEST_DELAY * 1000)
        mine = {"backoffCoefficient": 2.0, "maxRetryIntervalInMilliseconds": longest}
        return {**super().to_json(), **mine}


def attempt(
    context: Context, activity: Any, task: dict[str, Any], patient: bool = True
) -> Orchestration:
    """One activity with durable retry; returns its record, also when every attempt failed.

    Where Azure throttles it, it is tried again when Azure said, and no sooner; that is no failure,
    and has its own budget. Who is not `patient` gets the record where the wait is long.
    """
    give_up = context.current_utc_datetime + THROTTLE_PATIENCE
    for turn in itertools.count():
        try:
            result = yield context.call_activity_with_retry(activity, Backoff(), task)
        except Exception as error:
            return {"ok": False, "failure": failure_of(error)}
        if not is_throttled(result) or context.current_utc_datetime >= give_up:
            return result
        wait = _wait(result, turn)
        if not patient and wait > LONGEST_DELAY:
            return result
        yield from sleep(context, wait)


def settle(context: Context, calls: Sequence[Call], rounds: int = ROUNDS) -> Orchestration:
    """Fan out over (activity, task) pairs, dispatched in order; returns one record each, in order.

    What may pass is tried again, all of it together, after one durable timer: the longest wait that
    Azure asked for, else a backoff. A wait above LONGEST_DELAY is left to the caller, who can be
    cancelled meanwhile. The activities must be idempotent and return records.
    """
    results: list[dict[str, Any]] = [{}] * len(calls)
    todo = list(range(len(calls)))
    for turn in range(rounds):
        for start in range(0, len(todo), CHUNK):
            positions = todo[start : start + CHUNK]
            answers = yield from _fan_out(context, [calls[position] for position in positions])
            for position, answer in zip(positions, answers, strict=True):
                results[position] = answer
        todo = [position for position in todo if _may_pass(results[position])]
        wait = max((_wait(results[position], turn) for position in todo), default=0.0)
        if not todo or turn == rounds - 1 or wait > LONGEST_DELAY:
            break
        yield from sleep(context, wait)
    return results


def show(context: Context, fleet: FleetState, phase: str) -> None:
    """Enter (or stay in) a phase, and let the world see how far the fleet is."""
    fleet.phase = phase
    context.set_custom_status({**custom_status(fleet), "waves": fleet.waves})


def sleep(context: Context, seconds: float) -> Orchestration:
    """Wait for so many seconds at least."""
    for fire_at in _timers(context, seconds):
        yield context.create_timer(fire_at)


def sleep_unless(
    context: Context, event: Any, seconds: float, longest: float = HEARTBEAT
) -> Orchestration:
    """Wait for so many seconds at least, or until the event is there. Returns whether it is.

    `longest`: of one timer, in seconds.
    """
    for fire_at in _timers(context, seconds, longest):
        if event.is_completed:
            break
        yield from _timer_or(context, event, fire_at)
    return bool(event.is_completed)


def receive(context: Context, event: Any) -> Orchestration:
    """Take an event that may be there already: the SDK sees one only once its wait was yielded."""
    yield from _timer_or(context, event, context.current_utc_datetime)


def _timers(context: Context, seconds: float, longest: float = HEARTBEAT) -> Iterator[datetime]:
    """When to set timers for, one after the other, until the time has passed by our own clock.

    Each timer updates the instance: a long wait is cut into heartbeats.
    """
    end = context.current_utc_datetime + timedelta(seconds=max(seconds, SHORTEST_WAIT))
    while (now := context.current_utc_datetime) < end:
        yield min(end, now + timedelta(seconds=longest)) + EARLY


def _timer_or(context: Context, event: Any, fire_at: datetime) -> Orchestration:
    timer = context.create_timer(fire_at)
    yield context.task_any([event, timer])
    if not timer.is_completed:
        timer.cancel()  # a pending timer would hold back whatever is scheduled after it


def delay(turn: int) -> float:
    """Seconds of backoff after the turn (0, 1, …) that failed."""
    return min(FIRST_DELAY * 2.0**turn, LONGEST_DELAY)


def is_throttled(result: dict[str, Any]) -> bool:
    """Whether Azure asked us to go slower."""
    return not result["ok"] and failure_policy.is_throttled(result["failure"])


def failure_of(error: BaseException) -> Failure:
    """The failure record inside an exception that crossed from an activity, or one made of it."""
    text = str(error)
    try:
        record: Failure = json.JSONDecoder().raw_decode(text, text.index(MARK) + len(MARK))[0]
    except ValueError:
        # The activity was ended from outside: a timeout, or its worker died.
        advice = "The app's log has the details."
        return failure("ActivityFailed", text.partition("\n")[0], "retry", advice)
    return record


def _wait(result: dict[str, Any], turn: int) -> float:
    """Seconds to the next try of a call that has failed: as Azure said, else a backoff."""
    return float(result["failure"]["retry_after"] or delay(turn))


def _may_pass(result: dict[str, Any]) -> bool:
    return not result["ok"] and failure_policy.of(result["failure"]).retried


def _fan_out(context: Context, calls: Sequence[Call]) -> Orchestration:
    tasks = [context.call_activity(activity, task) for activity, task in calls]
    try:
        return (yield context.task_all(tasks))
    except Exception as error:
        # Only from outside (see `failure_of`). Plain calls take no further ids, so going on is safe; the
        # siblings' results are lost to us, and they are idempotent: all are tried again.
        return [{"ok": False, "failure": failure_of(error)} for _ in tasks]
