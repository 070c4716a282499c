"""Run one orchestrator with a simulated clock: half an hour of polling takes a second.

It runs in the SDK's executor, as in the host; its calls get the given results. A timer fires as early as
with Azure Storage: its message is sent a moment later, and hidden for whole seconds, rounded down.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.functions.durable.history import (
    ActionType,
    Event,
    EventType,
    event,
    parse_time,
    timestamp,
)
from local.functions.durable.replay import State, replay, use_fast_time_parser
from local.functions.durable.walk import FunctionNames, Walk
from tests.fleets import NOW

Answers = Mapping[str, Callable[[Any], Any]]
"""By name of an activity or sub-orchestrator: a function from its input to its result."""
SENDING = timedelta(milliseconds=250)
"""From the orchestrator's clock to the message of its timer."""


@dataclass
class Execution:
    """The observed execution of an orchestrator."""

    output: Any = None
    states: list[Any] = field(default_factory=list)
    """The inputs of its later histories (`continue_as_new`)."""
    longest: int = 0
    """Events of its longest history."""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Its calls, in order, each with its input."""
    at: list[float] = field(default_factory=list)
    """The times of its calls, in seconds since its start."""
    took: float = 0.0
    """Seconds on the simulated clock."""
    timers: int = 0
    silence: float = 0.0
    """The longest time without an event, in seconds."""

    def call_count(self, name: str) -> int:
        """The number of calls of a function."""
        return [called for called, _ in self.calls].count(name)


def play(
    orchestrator: Any,
    given: Any,
    answers: Answers,
    version: str | None = None,
    *,
    only_first: bool = False,
) -> Execution:
    """Run an orchestrator, as its module defines it, to its output or the end of its first history."""
    use_fast_time_parser()
    handler = orchestrator._function._func
    names = FunctionNames(answers.keys(), answers.keys())
    played, now = Execution(), NOW
    history, due = _begin(given, now, version), list[tuple[datetime, Event]]()
    while True:
        state = replay(handler, "flow", None, history[1]["Input"], history)
        assert state.error is None, state.error
        decisions = _decisions(state, history, names)
        due += [(_at(one, now), _answered(one, answers, played)) for one in decisions]
        played.at += [(now - NOW).total_seconds()] * (len(played.calls) - len(played.at))
        played.longest = max(played.longest, len(history))
        if state.done and (following := _next_input(state)) is not None:
            played.states.append(following)
            if only_first:
                return played
            history, due = _begin(following, now, version), []
            continue
        if state.done:
            played.output, played.took = state.output, (now - NOW).total_seconds()
            return played
        due.sort(key=lambda one: one[0])
        before, (now, message) = now, due.pop(0)
        played.silence = max(played.silence, (now - before).total_seconds())
        history += [*decisions, _episode(now), message]


def _begin(given: Any, now: datetime, version: str | None) -> list[Event]:
    """A new history."""
    text = json.dumps(json.dumps(given))
    started = event(EventType.EXECUTION_STARTED, Name="flow", Input=text, Version=version)
    return [_episode(now), started]


def _episode(now: datetime) -> Event:
    return {**event(EventType.ORCHESTRATOR_STARTED), "Timestamp": timestamp(now)}


def _decisions(state: State, history: list[Event], names: FunctionNames) -> list[Event]:
    walk = Walk(state.actions, history, names)
    for happened in history:
        walk.feed(happened)
    walk.check_determinism()
    return walk.decisions


def _next_input(state: State) -> Any:
    kind = ActionType.CONTINUE_AS_NEW
    given = (json.loads(one["input"]) for one in state.actions if one["actionType"] == kind)
    return next(given, None)


def _at(decision: Event, now: datetime) -> datetime:
    if "FireAt" not in decision:
        return now
    sent = now + SENDING
    hidden = math.floor((parse_time(decision["FireAt"]) - sent).total_seconds())
    return sent + timedelta(seconds=max(0, hidden))


def _answered(decision: Event, answers: Answers, played: Execution) -> Event:
    """The event that follows a decision."""
    task = decision["EventId"]
    if decision["EventType"] == EventType.TIMER_CREATED:
        played.timers += 1
        return event(EventType.TIMER_FIRED, TimerId=task, FireAt=decision["FireAt"])
    given = json.loads(decision["Input"])
    played.calls.append((decision["Name"], given))
    is_activity = decision["EventType"] == EventType.TASK_SCHEDULED
    kind = EventType.TASK_COMPLETED if is_activity else EventType.SUB_ORCHESTRATION_COMPLETED
    result = json.dumps(answers[decision["Name"]](given))
    return event(kind, TaskScheduledId=task, Result=result)
