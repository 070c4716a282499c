"""One episode: replays an instance with new messages, and returns new events and decisions. No I/O."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from local.functions.durable.history import Event, EventType, Status, dotnet_time, event
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

    `events` are appended to the history. `decisions` are those of them to execute, with their inputs,
    which the history omits. `output` is JSON text if `status` is terminal. With `next_input` (JSON
    text) the instance restarts with an empty history and the `carried` events.
    """

    status: str
    events: list[Event]
    decisions: list[Event] = field(default_factory=list)
    output: str | None = None
    custom_status: str | None = None
    open_waits: dict[str, int] = field(default_factory=dict)
    next_input: str | None = None
    carried: list[Event] = field(default_factory=list)
    execution_started: Event = field(default_factory=dict)
    """The first event of this execution."""


def run_episode(
    handler: Handler | None,
    instance: Instance,
    history: Sequence[Event],
    messages: Sequence[Event],
    names: FunctionNames,
) -> Outcome:
    """Replay `instance` with `messages` added, and return the outcome.

    An exception in the orchestrator fails the instance, and so does a missing orchestrator (`handler`
    is None).
    """
    started = event(EventType.ORCHESTRATOR_STARTED)
    # ExecutionStarted comes first, even if other messages arrived before it.
    new = sorted(messages, key=lambda m: m["EventType"] != EventType.EXECUTION_STARTED)
    past_and_new = [*history, started, *new]
    # In the next episode, messages count as played; decisions never do.
    outcome = Outcome(Status.RUNNING, [started, *({**m, "IsPlayed": True} for m in new)])
    outcome.execution_started = next(
        e for e in past_and_new if e["EventType"] == EventType.EXECUTION_STARTED
    )
    try:
        if handler is None:
            raise OrchestrationError(names.unknown("orchestrator", instance.name))
        state = replay(handler, instance.id, instance.parent_id, instance.input, past_and_new)
        _follow(state, past_and_new, names, outcome)
        if outcome.next_input is None:
            _conclude(instance, state, outcome)
    except OrchestrationError as error:
        _fail(instance, str(error), outcome)
    outcome.decisions = [_completed(instance, decision) for decision in outcome.decisions]
    outcome.events += [_without_input(decision) for decision in outcome.decisions]
    outcome.events += _ending(outcome)
    return outcome


def execution_started(
    name: str,
    input_json: str | None,
    instance_id: str,
    execution_id: str,
    parent: Instance | None,
    task_id: int | None,
    version: str | None,
) -> Event:
    """The first message of an instance, started by a client or by task `task_id` of its `parent`."""
    return event(
        EventType.EXECUTION_STARTED,
        OrchestrationInstance={"InstanceId": instance_id, "ExecutionId": execution_id},
        ParentInstance=parent
        and {
            "Name": parent.name,
            "OrchestrationInstance": {"InstanceId": parent.id, "ExecutionId": parent.execution_id},
            "TaskScheduleId": task_id,
            "Version": parent.version,
        },
        Name=name,
        Version=version,
        Input=input_json,
        Generation=None if parent else 0,
    )


def next_execution(instance: Instance, outcome: Outcome, execution_id: str) -> list[Event]:
    """The messages that start the next execution after `continue_as_new`.

    As in DurableTask.Core, the first episode of such an execution contains OrchestratorCompleted.
    """
    own = {"InstanceId": instance.id, "ExecutionId": execution_id}
    started = {
        **outcome.execution_started,
        **event(EventType.EXECUTION_STARTED, OrchestrationInstance=own, Input=outcome.next_input),
    }
    return [started, *outcome.carried, event(EventType.ORCHESTRATOR_COMPLETED)]


def _completed(instance: Instance, decision: Event) -> Event:
    """A decision with the members that the host adds."""
    match decision["EventType"]:
        case EventType.TASK_SCHEDULED:
            return {**decision, "Version": decision["Version"] or ""}
        case EventType.SUB_ORCHESTRATION_CREATED:
            child = decision["InstanceId"] or f"{instance.execution_id}:{decision['EventId']}"
            return {**decision, "InstanceId": child}
        case _:
            return {**decision, "FireAt": dotnet_time(decision["FireAt"])}


def _without_input(decision: Event) -> Event:
    return {**decision, "Input": None} if "Input" in decision else decision


def _follow(state: State, history: Sequence[Event], names: FunctionNames, outcome: Outcome) -> None:
    outcome.custom_status = _custom_status(state.custom_status)
    walk = Walk(state.actions, history, names)
    for happened in history:
        walk.feed(happened)
    walk.check_determinism()
    outcome.decisions = walk.decisions
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
    """`value` as JSON text, or None. Raises OrchestrationError if it is too long."""
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
