"""Walks through an orchestrator's actions as the Durable extension does.

The SDK returns every action since the start, in the order of the `yield`s. The extension
(`OutOfProcOrchestrationShim`, schema V2 and later) processes them **sequentially**: it invokes
action i, which schedules everything inside it, and waits for its completion before action i+1.
`WhenAll` is complete when *all* its children are, including failed ones; `WhenAny` with the first.
The SDK, in contrast, ends a `task_all` at the first failure, so the two can diverge: tasks get other
ids than the SDK expects, or are never scheduled. An engine that scheduled all actions at once would
hide that.

Each episode starts a new walk over the whole history. It is therefore a pure function of
(actions, history), without state between episodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local.functions.durable.history import (
    SCHEDULING,
    ActionType,
    Event,
    EventType,
    event,
    parse_time,
    timestamp,
)

Action = dict[str, Any]

_MAX_RETRY_DELAY = timedelta(days=6)  # the extension's default and upper bound


class OrchestrationError(Exception):
    """The orchestration fails with this message."""


@dataclass(frozen=True, slots=True)
class FunctionNames:
    """The functions that an orchestrator can call."""

    activities: Collection[str]
    orchestrators: Collection[str]

    def unknown(self, kind: str, name: str) -> str:
        """The extension's message for a call of an unknown function."""
        known = self.activities if kind == "activity" else self.orchestrators
        return (
            f"The function '{name}' doesn't exist, is disabled, or is not an {kind} function. "
            f"Additional info: The following are the known {kind} functions: "
            + ", ".join(f"'{one}'" for one in sorted(known))
            + "."
        )


@dataclass(eq=False, slots=True)
class _Task:
    """An awaited task. A failed task counts as complete."""

    parent: _Task | None = None
    missing: int = 1
    done: bool = False

    def complete(self) -> None:
        """Count one completion. The last one completes the parent."""
        self.missing -= 1
        if self.missing <= 0 and not self.done:
            self.done = True
            if self.parent is not None:
                self.parent.complete()


class Walk:
    """One pass over `actions`, driven by `feed` with each event of the history in order.

    After the last event: `decisions` are the scheduling events that are not in the history yet,
    `finished` is whether every action is complete, `next_input` is the input (JSON text) of
    `continue_as_new`, and `carried` are the external events after it.
    """

    def __init__(
        self, actions: Sequence[Action], history: Sequence[Event], names: FunctionNames
    ) -> None:
        self._actions, self._index = actions, 0
        self._current: _Task | None = None
        self._names = names
        self._recorded = {e["EventId"]: e for e in history if e["EventType"] in SCHEDULING}
        self._next_id = 0
        self._pending: dict[int, Callable[[bool], None]] = {}
        self._waiting: dict[str, list[_Task]] = {}
        self._unawaited: Counter[str] = Counter()
        self._clock = datetime.min.replace(tzinfo=UTC)
        self.decisions: list[Event] = []
        self.carried: list[Event] = []
        self.next_input: str | None = None

    @property
    def finished(self) -> bool:
        """Whether every action has been invoked and is complete."""
        at_end = self._index == len(self._actions)
        return self.next_input is not None or (
            at_end and (self._current is None or self._current.done)
        )

    def feed(self, happened: Event) -> None:
        """Process one event, and advance as far as possible.

        Raises OrchestrationError for an unsupported action, or if the code no longer schedules what
        is in the history.
        """
        kind = happened["EventType"]
        if kind == EventType.ORCHESTRATOR_STARTED:
            self._clock = max(self._clock, parse_time(happened["Timestamp"]))
        elif kind == EventType.EVENT_RAISED:
            self._on_event(happened)
        elif kind in _COMPLETIONS:
            key, failed = _COMPLETIONS[kind]
            resume = self._pending.pop(happened[key], None)
            if resume is not None:  # otherwise a duplicate or a cancelled timer
                resume(failed)
        if kind in _COMPLETIONS or kind in (EventType.EXECUTION_STARTED, EventType.EVENT_RAISED):
            self._advance()

    def check_determinism(self) -> None:
        """Raise OrchestrationError if the history contains a task that this walk has not scheduled."""
        missing = [i for i in self._recorded if i >= self._next_id]
        if missing:
            raise OrchestrationError(_not_deterministic(self._recorded[min(missing)], None))

    def _advance(self) -> None:
        while (
            self._index < len(self._actions)
            and self.next_input is None
            and (self._current is None or self._current.done)
        ):
            self._current = self._invoke(self._actions[self._index], None)
            self._index += 1

    def _invoke(self, action: Action, parent: _Task | None) -> _Task:
        kind = action["actionType"]
        task = _Task(parent)
        match kind:
            case ActionType.WHEN_ALL | ActionType.WHEN_ANY:
                self._group(action, task)
            case ActionType.CALL_ACTIVITY | ActionType.CALL_SUB_ORCHESTRATOR:
                self._pending[self._call(action)] = lambda failed: task.complete()
            case ActionType.CALL_ACTIVITY_WITH_RETRY | ActionType.CALL_SUB_ORCHESTRATOR_WITH_RETRY:
                self._attempt(action, task, 1)
            case ActionType.CREATE_TIMER:
                self._create_timer(action, task)
            case ActionType.WAIT_FOR_EXTERNAL_EVENT:
                self._wait(action["externalEventName"], task)
            case ActionType.CONTINUE_AS_NEW:
                self.next_input = action["input"]
                task.complete()
            case _:
                raise OrchestrationError(
                    f"Action type {kind} is not supported here: this host runs activities, "
                    "sub-orchestrations, timers and external events, "
                    "but no entities and no durable HTTP calls."
                )
        return task

    def _group(self, action: Action, task: _Task) -> None:
        children = action["compoundActions"]
        task.missing = len(children) if action["actionType"] == ActionType.WHEN_ALL else 1
        for child in children:
            self._invoke(child, task)
        if not children:
            task.complete()

    def _call(self, action: Action) -> int:
        name = action["functionName"]
        fields = {"Name": name, "Version": action.get("version"), "Input": action.get("input")}
        if action["actionType"] in _SUB_ORCHESTRATIONS:
            if name not in self._names.orchestrators:
                raise OrchestrationError(self._names.unknown("orchestrator", name))
            fields["InstanceId"] = action.get("instanceId")
            return self._decide(EventType.SUB_ORCHESTRATION_CREATED, **fields)
        if name not in self._names.activities:
            raise OrchestrationError(self._names.unknown("activity", name))
        return self._decide(EventType.TASK_SCHEDULED, **fields)

    def _attempt(self, action: Action, task: _Task, attempt: int) -> None:
        """Schedule attempt number `attempt` (from 1), and its retries."""
        options = action["retryOptions"]

        def after_attempt(failed: bool) -> None:
            if not failed:
                task.complete()
                return
            # The last failure also creates a timer, which fires immediately: DurableTask.Core
            # keeps it for compatibility, and the SDK waits for it.
            fire_at = self._clock + retry_delay(options, attempt)
            timer = self._decide(EventType.TIMER_CREATED, FireAt=timestamp(fire_at))
            self._pending[timer] = after_timer

        def after_timer(_: bool) -> None:
            if attempt >= options["maxNumberOfAttempts"]:
                task.complete()
            else:
                self._attempt(action, task, attempt + 1)

        self._pending[self._call(action)] = after_attempt

    def _create_timer(self, action: Action, task: _Task) -> None:
        fire_at = timestamp(parse_time(action["fireAt"]))
        timer = self._decide(EventType.TIMER_CREATED, FireAt=fire_at)
        if action.get("isCanceled"):
            task.complete()
        else:
            self._pending[timer] = lambda failed: task.complete()

    def _wait(self, name: str, task: _Task) -> None:
        if self._unawaited[name]:
            self._unawaited[name] -= 1
            task.complete()
        else:
            self._waiting.setdefault(name, []).append(task)

    def _on_event(self, raised: Event) -> None:
        name = raised["Name"]
        if self.next_input is not None:
            self.carried.append(raised)
        elif self._waiting.get(name):
            self._waiting[name].pop().complete()  # the latest wait first, as in the extension
        else:
            self._unawaited[name] += 1

    def _decide(self, kind: EventType, **fields: Any) -> int:
        """Assign the next task id to a decision, and record it unless it is in the history."""
        task_id = self._next_id
        self._next_id += 1
        recorded = self._recorded.get(task_id)
        if recorded is None:
            self.decisions.append(event(kind, task_id, **fields))
        elif recorded["EventType"] != kind or recorded.get("Name") != fields.get("Name"):
            raise OrchestrationError(_not_deterministic(recorded, fields.get("Name")))
        return task_id


_SUB_ORCHESTRATIONS = (
    ActionType.CALL_SUB_ORCHESTRATOR,
    ActionType.CALL_SUB_ORCHESTRATOR_WITH_RETRY,
)

_COMPLETIONS: dict[int, tuple[str, bool]] = {
    EventType.TASK_COMPLETED: ("TaskScheduledId", False),
    EventType.TASK_FAILED: ("TaskScheduledId", True),
    EventType.SUB_ORCHESTRATION_COMPLETED: ("TaskScheduledId", False),
    EventType.SUB_ORCHESTRATION_FAILED: ("TaskScheduledId", True),
    EventType.TIMER_FIRED: ("TimerId", False),
}


def retry_delay(options: Action, attempt: int) -> timedelta:
    """The delay after failed attempt number `attempt` (from 1), as in DurableTask.Core."""
    if attempt >= options["maxNumberOfAttempts"]:
        return timedelta(0)
    longest = options.get("maxRetryIntervalInMilliseconds")
    cap = timedelta(milliseconds=longest) if longest else _MAX_RETRY_DELAY
    first = timedelta(milliseconds=options["firstRetryIntervalInMilliseconds"])
    try:
        return min(cap, first * float(options.get("backoffCoefficient", 1)) ** (attempt - 1))
    except OverflowError:
        return cap


def open_waits(actions: Sequence[Action], history: Sequence[Event]) -> dict[str, int]:
    """The number of external events of each name that the orchestrator is waiting for.

    The SDK mishandles an event that arrives before its wait, so each event is delivered only to an
    existing wait.
    """
    listed = Counter(
        leaf["externalEventName"]
        for leaf in _leaves(actions)
        if leaf["actionType"] == ActionType.WAIT_FOR_EXTERNAL_EVENT
    )
    listed.subtract(e["Name"] for e in history if e["EventType"] == EventType.EVENT_RAISED)
    return {name: count for name, count in listed.items() if count > 0}


def _leaves(actions: Sequence[Action]) -> Iterator[Action]:
    for action in actions:
        if action["actionType"] in (ActionType.WHEN_ALL, ActionType.WHEN_ANY):
            yield from _leaves(action["compoundActions"])
        else:
            yield action


def _not_deterministic(recorded: Event, now: str | None) -> str:
    return (
        "Non-Deterministic workflow detected: the history holds task "
        f"{recorded['EventId']} ({EventType(recorded['EventType']).name}, "
        f"name {recorded.get('Name')!r}), but the code now schedules "
        f"{'something else' if now is None else repr(now)} in its place. "
        "An orchestrator must make the same calls in the same order on every replay; "
        "after a change of its code, start a new instance."
    )
