"""One episode: new messages in, one replay, new history and decisions out. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from local.functions.durable.history import Event, EventType, Status, event, execution_started
from local.functions.durable.replay import Handler, State, replay
from local.functions.durable.walk import FunctionNames, OrchestrationError, Walk, open_waits

_MAX_CUSTOM_STATUS = 16 * 1024  # bytes as UTF-16


@dataclass(frozen=True, slots=True)
class Instance:
    """An orchestration instance at the start of an episode. `input` is JSON text."""

    id: str
    execution_id: str
    name: str
    status: str
    input: str | None = None
    parent_id: str | None = None
    parent_execution_id: str | None = None
    parent_task_id: int | None = None
    open_waits: dict[str, int] = field(default_factory=dict)
    version: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the instance will never run again."""
        return self.status in Status.FINISHED


@dataclass(slots=True)
class Outcome:
    """What an episode changes.

    `events` are appended to the history; the `decisions` among them are to be carried out.
    `output` is JSON text where `status` is a finished one. With `next_input` (JSON text) the
    instance starts again with an empty history, and takes the `carried` events along.
    """

    status: str
    events: list[Event]
    decisions: list[Event] = field(default_factory=list)
    cancelled_timers: list[int] = field(default_factory=list)
    output: str | None = None
    custom_status: str | None = None
    open_waits: dict[str, int] = field(default_factory=dict)
    next_input: str | None = None
    carried: list[Event] = field(default_factory=list)


def run_episode(
    handler: Handler,
    instance: Instance,
    history: Sequence[Event],
    messages: Sequence[Event],
    names: FunctionNames,
) -> Outcome:
    """Replay `instance` with `messages` added, and say what follows.

    An exception of the orchestrator's code becomes the instance's failure.
    """
    started = event(EventType.ORCHESTRATOR_STARTED)
    # ExecutionStarted comes first, whatever reached the instance before it.
    new = [started, *sorted(messages, key=lambda m: m["EventType"] != EventType.EXECUTION_STARTED)]
    past_and_new = [*history, *new]
    state = replay(handler, instance.id, instance.parent_id, instance.input, past_and_new)
    outcome = Outcome(Status.RUNNING, new)
    try:
        _follow(state, past_and_new, names, outcome)
    except OrchestrationError as error:
        _fail(instance, str(error), outcome)
    else:
        if outcome.next_input is None:
            _conclude(instance, state, outcome)
    outcome.events += [*outcome.decisions, *_ending(outcome)]
    return outcome


def next_execution(instance: Instance, outcome: Outcome) -> list[Event]:
    """The messages that start the next execution after `continue_as_new`."""
    started = execution_started(instance.name, outcome.next_input, instance.version)
    return [started, *outcome.carried]


def _follow(state: State, history: Sequence[Event], names: FunctionNames, outcome: Outcome) -> None:
    outcome.custom_status = _custom_status(state.custom_status)
    walk = Walk(state.actions, history, names)
    for happened in history:
        walk.feed(happened)
    walk.check_determinism()
    outcome.decisions = walk.decisions
    outcome.cancelled_timers = walk.cancelled
    outcome.open_waits = open_waits(state.actions, history)
    finished = walk.finished and (state.done or state.error is not None)
    if finished and walk.next_input is not None and state.error is None:
        outcome.next_input, outcome.carried = json.dumps(walk.next_input), walk.carried
    outcome.status = Status.COMPLETED if finished else Status.RUNNING


def _conclude(instance: Instance, state: State, outcome: Outcome) -> None:
    if outcome.status != Status.COMPLETED:
        return
    if state.error is not None:
        _fail(instance, state.error, outcome)
    else:
        outcome.output = json.dumps(state.output)


def _fail(instance: Instance, reason: str, outcome: Outcome) -> None:
    outcome.status = Status.FAILED
    outcome.decisions = []
    outcome.output = json.dumps(f"Orchestrator function '{instance.name}' failed: {reason}")


def _ending(outcome: Outcome) -> list[Event]:
    completed = event(EventType.ORCHESTRATOR_COMPLETED)
    if outcome.status not in Status.FINISHED:
        return [completed]
    result = event(
        EventType.EXECUTION_COMPLETED, OrchestrationStatus=outcome.status, Result=outcome.output
    )
    return [result, completed]


def _custom_status(value: Any) -> str | None:
    """`value` as JSON text; None for nothing new. Raises OrchestrationError when it is too long."""
    if value is None:
        return None
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    size = len(text.encode("utf-16-le", "surrogatepass"))
    if size > _MAX_CUSTOM_STATUS:
        raise OrchestrationError(
            "The UTF-16 size of the JSON-serialized payload must not exceed 16 KB. "
            f"The current payload is {size / 1024:.1f} KB. Keep the custom status small."
        )
    return text
