"""The walk through actions: which tasks are scheduled when, and with which ids."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from local.functions.durable.history import Event, EventType, event
from local.functions.durable.walk import (
    FunctionNames,
    OrchestrationError,
    Walk,
    open_waits,
    retry_delay,
)

NAMES = FunctionNames({"A", "B", "C"}, {"Child"})
START = [
    event(EventType.ORCHESTRATOR_STARTED),
    event(EventType.EXECUTION_STARTED, Name="flow", Input=None, Version=None),
]


def call(name: str) -> dict[str, Any]:
    return {"actionType": 0, "functionName": name, "input": "null"}


def retried(name: str, attempts: int) -> dict[str, Any]:
    options = {"firstRetryIntervalInMilliseconds": 1000, "maxNumberOfAttempts": attempts}
    return {"actionType": 1, "functionName": name, "input": "null", "retryOptions": options}


def all_of(*children: dict[str, Any]) -> dict[str, Any]:
    return {"actionType": 12, "compoundActions": list(children)}


def any_of(*children: dict[str, Any]) -> dict[str, Any]:
    return {"actionType": 11, "compoundActions": list(children)}


def wait(name: str) -> dict[str, Any]:
    return {"actionType": 6, "externalEventName": name, "reason": "ExternalEvent"}


def timer(cancelled: bool = False) -> dict[str, Any]:
    return {"actionType": 5, "fireAt": "2026-11-23T08:00:00.000000Z", "isCanceled": cancelled}


def completed(task: int) -> Event:
    return event(EventType.TASK_COMPLETED, TaskScheduledId=task, Result="1")


def failed(task: int) -> Event:
    return event(EventType.TASK_FAILED, TaskScheduledId=task, Reason="R", Details="D")


def fired(task: int) -> Event:
    return event(EventType.TIMER_FIRED, TimerId=task)


def raised(name: str) -> Event:
    return event(EventType.EVENT_RAISED, Name=name, Input="1")


def walk(actions: list[dict[str, Any]], *events: Event) -> Walk:
    """Walk `actions` over START and `events`, without earlier decisions."""
    history = [*START, *events]
    one = Walk(actions, history, NAMES)
    for happened in history:
        one.feed(happened)
    return one


def decided(one: Walk) -> list[tuple[int, str]]:
    """(id, name) of the scheduled tasks; timers are named T."""
    return [(d["EventId"], d.get("Name", "T")) for d in one.decisions]


def test_all_of_a_group_is_scheduled_at_once() -> None:
    assert decided(walk([all_of(call("A"), call("B"))])) == [(0, "A"), (1, "B")]


def test_the_next_action_waits_for_the_whole_group() -> None:
    actions = [all_of(call("A"), call("B")), call("C")]

    assert decided(walk(actions, failed(0))) == [(0, "A"), (1, "B")]
    assert decided(walk(actions, failed(0), completed(1)))[-1] == (2, "C")


def test_the_next_action_waits_for_the_first_task_of_any() -> None:
    actions = [any_of(call("A"), call("B")), call("C")]

    assert decided(walk(actions, completed(1)))[-1] == (2, "C")


def test_an_empty_group_is_complete() -> None:
    assert walk([all_of()]).finished


def test_a_retry_takes_an_id_for_its_timer_and_one_for_the_next_attempt() -> None:
    one = walk([all_of(retried("A", 2), retried("B", 2))], failed(0), failed(1), fired(3))

    assert decided(one) == [(0, "A"), (1, "B"), (2, "T"), (3, "T"), (4, "B")]


def test_the_last_failure_creates_one_more_timer() -> None:
    one = walk([retried("A", 1)], failed(0))

    assert (decided(one), one.finished) == ([(0, "A"), (1, "T")], False)
    assert walk([retried("A", 1)], failed(0), fired(1)).finished


def test_a_cancelled_timer_is_complete() -> None:
    one = walk([any_of(timer(cancelled=True), wait("go")), call("A")], raised("go"))

    assert decided(one) == [(0, "T"), (1, "A")]


def test_an_event_before_its_wait_is_kept() -> None:
    one = walk([call("A"), wait("go"), call("B")], raised("go"), completed(0))

    assert decided(one)[-1] == (1, "B")


def test_an_event_completes_only_one_wait() -> None:
    assert not walk([wait("go"), wait("go")], raised("go")).finished


def test_events_after_continue_as_new_are_carried() -> None:
    actions = [call("A"), {"actionType": 4, "input": "2"}]

    one = walk(actions, completed(0), raised("go"))

    assert (one.next_input, [e["Name"] for e in one.carried]) == ("2", ["go"])


def test_decisions_in_the_history_are_not_repeated() -> None:
    scheduled = event(EventType.TASK_SCHEDULED, 0, Name="A", Input="null")

    assert decided(walk([all_of(call("A"), call("B"))], scheduled)) == [(1, "B")]


def test_a_different_name_than_in_the_history_is_an_error() -> None:
    scheduled = event(EventType.TASK_SCHEDULED, 0, Name="A", Input="null")

    with pytest.raises(OrchestrationError, match="Non-Deterministic"):
        walk([call("B")], scheduled)


def test_a_task_that_is_no_longer_called_is_an_error() -> None:
    one = walk([], event(EventType.TASK_SCHEDULED, 0, Name="A", Input="null"))

    with pytest.raises(OrchestrationError, match="name 'A'"):
        one.check_determinism()


@pytest.mark.parametrize("kind", [7, 8, 9])
def test_entities_and_durable_http_are_not_supported(kind: int) -> None:
    with pytest.raises(OrchestrationError, match="not supported"):
        walk([{"actionType": kind}])


def test_an_unknown_child_is_an_error() -> None:
    with pytest.raises(OrchestrationError, match="known orchestrator functions: 'Child'"):
        walk([{"actionType": 2, "functionName": "A", "input": "null"}])


def test_open_waits_are_the_waits_minus_the_raised_events() -> None:
    actions = [any_of(wait("go"), wait("stop")), wait("go")]

    assert open_waits(actions, [raised("go")]) == {"go": 1, "stop": 1}


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 1), (2, 3), (3, 9), (4, 20), (999, 20), (1000, 0)]
)
def test_the_delay_grows_to_its_cap_and_is_zero_at_the_end(attempt: int, seconds: int) -> None:
    options = {
        "firstRetryIntervalInMilliseconds": 1000,
        "maxNumberOfAttempts": 1000,
        "backoffCoefficient": 3,
        "maxRetryIntervalInMilliseconds": 20_000,
    }

    assert retry_delay(options, attempt) == timedelta(seconds=seconds)
