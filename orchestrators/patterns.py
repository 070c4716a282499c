"""Safe ways to call activities and to wait.

In azure-functions-durable 1.x, an exception that leaves a child of `task_all` while siblings are pending
gives wrong results or hangs (azure-functions-durable-python#603, won't fix). So activities in a fan-out
return failures instead of raising them, and are retried in rounds.

A durable timer may fire up to a second early: the storage provider hides its message for whole seconds,
rounded down. Every wait goes through this module.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import azure.durable_functions as df

from activities.results import MARK
from fleet.model import failure_policy
from fleet.model.activities import Failed
from fleet.model.custom_status import MAX_TIMER_SECONDS, custom_status
from fleet.model.failure import failure
from fleet.model.records import Failure
from fleet.model.state import FleetState

MAX_TRIES = 5
FAN_OUT = 50
"""Activities in one fan-out. Each completion replays the whole history, so the cost is quadratic."""

SHORTEST_WAIT = 1.0
"""Seconds. The provider rounds a shorter wait down to none."""
TIMER_ERROR = timedelta(seconds=1)
"""How early a timer may fire."""

FIRST_BACKOFF, LONGEST_BACKOFF = 2.0, 60.0
"""Seconds."""
THROTTLE_TIMEOUT = timedelta(minutes=30)
"""Azure has asked for waits of 20 minutes."""

T = TypeVar("T")
Orchestration = Generator[Any, Any, T]
"""A step of an orchestrator. `yield from` it to get its result."""
Call = tuple[Any, Mapping[str, Any]]
"""An activity and its input."""


class Context(Protocol):
    """The part of `df.DurableOrchestrationContext`, which ships no types, that we use."""

    instance_id: str
    current_utc_datetime: datetime
    version: str | None
    """`defaultVersion` of the host that started the instance: docs/releasing.md."""

    def get_input(self) -> Any: ...
    def call_activity(self, name: Any, input_: Any) -> Any: ...
    def call_activity_with_retry(self, name: Any, retry_options: Any, input_: Any) -> Any: ...

    def call_sub_orchestrator(
        self, name: Any, input_: Any, instance_id: str, *, expected_type: type
    ) -> Any:
        """Without a type, the SDK expects its own wrapper's `str`, and warns in each replay."""
        ...

    def create_timer(self, fire_at: datetime) -> Any: ...
    def wait_for_external_event(self, name: str) -> Any: ...
    def task_all(self, tasks: list[Any]) -> Any: ...
    def task_any(self, tasks: list[Any]) -> Any: ...
    def set_custom_status(self, status: Any) -> None: ...
    def continue_as_new(self, input_: Any) -> None: ...


class FleetEnded(Exception):
    """Ends the fleet early, in `phase` and for `reason`."""

    def __init__(self, phase: str, reason: Failure | None = None) -> None:
        super().__init__(phase)
        self.phase, self.reason = phase, reason


class Backoff(df.RetryOptions):  # type: ignore[misc]
    """Retry with exponential backoff, by two members that the host reads and the SDK lacks.

    Never add `retryTimeoutInMilliseconds`: the host then stops without the timer that the SDK awaits.
    """

    def __init__(self) -> None:
        super().__init__(int(FIRST_BACKOFF * 1000), MAX_TRIES)

    def to_json(self) -> dict[str, float]:
        longest = int(LONGEST_BACKOFF * 1000)
        ours = {"backoffCoefficient": 2.0, "maxRetryIntervalInMilliseconds": longest}
        return {**super().to_json(), **ours}


def call_with_retry(
    context: Context, activity: Any, task: Mapping[str, Any], *, waits: bool = True
) -> Orchestration[Any]:
    """Call one activity with durable retry. Returns its result, which is `Failed` if every try failed.

    Throttled calls are repeated when Azure asks, for up to THROTTLE_TIMEOUT; if `waits` is false, a
    throttled result is returned instead.
    """
    give_up_at = context.current_utc_datetime + THROTTLE_TIMEOUT
    for turn in itertools.count():
        try:
            result = yield context.call_activity_with_retry(activity, Backoff(), task)
        except Exception as error:
            return _failed(error)
        if result["ok"] or not failure_policy.is_throttled(result["failure"]):
            return result
        wait = _retry_delay(result["failure"], turn)
        if not waits or context.current_utc_datetime >= give_up_at:
            return result
        yield from sleep(context, wait)


def is_retried(reason: Failure, tries: int) -> bool:
    """Whether `settle` retries a failure after so many tries."""
    return tries < MAX_TRIES and failure_policy.of(reason).retried


def settle(
    context: Context,
    calls: Sequence[Call],
    max_tries: int = MAX_TRIES,
    retries: Callable[[Failure, int], bool] = is_retried,
) -> Orchestration[list[Any]]:
    """Fan out over activities that never raise, dispatched in order. Returns their results, in order.

    Failures for which `retries` holds are retried together after one durable timer: the longest wait
    that Azure asked for, else a backoff. A wait above LONGEST_BACKOFF is left to the caller, which can
    be cancelled.
    """
    results: list[Any] = [None] * len(calls)
    pending = list(range(len(calls)))
    for turn in range(max_tries):
        for chunk in chunks(pending, FAN_OUT):
            answers = yield from _fan_out(context, [calls[index] for index in chunk])
            for index, answer in zip(chunk, answers, strict=True):
                results[index] = answer
        pending = [
            index
            for index in pending
            if not results[index]["ok"] and retries(results[index]["failure"], turn + 1)
        ]
        wait = max((_retry_delay(results[one]["failure"], turn) for one in pending), default=0.0)
        if not pending or turn == max_tries - 1 or wait > LONGEST_BACKOFF:
            break
        yield from sleep(context, wait)
    return results


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """The items in slices of up to `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def publish_status(context: Context, fleet: FleetState, phase: str) -> None:
    """Enter (or stay in) a phase, and publish the custom status."""
    fleet.phase = phase
    context.set_custom_status(custom_status(fleet))


def sleep(context: Context, seconds: float) -> Orchestration[None]:
    """Wait for at least so many seconds."""
    for fire_at in _timers(context, seconds, MAX_TIMER_SECONDS):
        yield context.create_timer(fire_at)


def sleep_unless(
    context: Context, event: Any, seconds: float, longest: float = MAX_TIMER_SECONDS
) -> Orchestration[bool]:
    """Wait for at least so many seconds, or for the event. Returns whether the event was received.

    `longest`: seconds of one timer.
    """
    for fire_at in _timers(context, seconds, longest):
        if event.is_completed:
            break
        yield from _timer_or(context, [event], fire_at)
    return bool(event.is_completed)


def wait_for_any(
    context: Context, tasks: Sequence[Any], seconds: float = MAX_TIMER_SECONDS
) -> Orchestration[None]:
    """Wait until any of the tasks has completed, for up to `seconds`. The timer may be early."""
    if not any(task.is_completed for task in tasks):
        delay = timedelta(seconds=min(max(seconds, SHORTEST_WAIT), MAX_TIMER_SECONDS))
        yield from _timer_or(context, tasks, context.current_utc_datetime + delay)


def receive(context: Context, event: Any) -> Orchestration[None]:
    """Receive an event that may have been raised already: the SDK completes it only after a yield."""
    yield from _timer_or(context, [event], context.current_utc_datetime)


def _timers(context: Context, seconds: float, longest: float) -> Iterator[datetime]:
    """When to set timers for, one after the other, until the time has passed.

    Each timer updates the instance, which serves as its heartbeat.
    """
    end = context.current_utc_datetime + timedelta(seconds=max(seconds, SHORTEST_WAIT))
    while (now := context.current_utc_datetime) < end:
        yield min(end, now + timedelta(seconds=longest)) + TIMER_ERROR


def _timer_or(context: Context, tasks: Sequence[Any], fire_at: datetime) -> Orchestration[None]:
    timer = context.create_timer(fire_at)
    yield context.task_any([*tasks, timer])
    if not timer.is_completed:
        timer.cancel()  # a pending timer delays whatever is scheduled after it


def backoff(turn: int) -> float:
    """Seconds to wait after a try (0, 1, …) that failed."""
    return min(FIRST_BACKOFF * 2.0**turn, LONGEST_BACKOFF)


def failure_of(error: BaseException) -> Failure:
    """The failure record in an exception that an activity raised, or a new one."""
    text = str(error)
    try:
        record: Failure = json.JSONDecoder().raw_decode(text, text.index(MARK) + len(MARK))[0]
    except ValueError:
        # The activity was stopped from outside: by a timeout, or by the end of its worker.
        advice = "Check the app's log."
        return failure("ActivityFailed", text.partition("\n")[0], "retry", advice)
    return record


def _failed(error: BaseException) -> Failed:
    return {"ok": False, "failure": failure_of(error)}


def _retry_delay(reason: Failure, turn: int) -> float:
    return float(reason["retry_after"] or backoff(turn))


def _fan_out(context: Context, calls: Sequence[Call]) -> Orchestration[list[Any]]:
    tasks = [context.call_activity(activity, task) for activity, task in calls]
    try:
        return list((yield context.task_all(tasks)))
    except Exception as error:
        # Raised from outside only (see `failure_of`). The siblings' results are lost; because activities
        # are idempotent, all of them are retried.
        return [_failed(error) for _ in tasks]
