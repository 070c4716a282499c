"""What can happen to orchestration instances, each thing one transaction.

A process killed at any moment leaves either all of an episode or nothing of it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from local.functions.durable.episode import Instance, Outcome, next_execution
from local.functions.durable.history import (
    Event,
    EventType,
    Status,
    event,
    failure_details,
    parse_time,
)
from local.functions.durable.tables import ActivityTask, Message, Tables


class InstanceExists(Exception):
    """An unfinished instance has the id that a new one was to get."""

    def __init__(self, instance_id: str, status: str) -> None:
        super().__init__(f"An Orchestration instance with the status {status} already exists.")
        self.instance_id = instance_id


@dataclass(slots=True)
class Effects:
    """What the engine has to look at after a commit: new activities, instances with messages that
    count now, and (instance, Unix time) of new timers."""

    activities: list[ActivityTask] = field(default_factory=list)
    wake: list[str] = field(default_factory=list)
    timers: list[tuple[str, float]] = field(default_factory=list)


class Store:
    """The transactions on `tables`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def start(
        self,
        name: str,
        instance_id: str | None,
        input_json: str | None,
        *,
        replace_running: bool = False,
    ) -> str:
        """Create an instance, or replace a finished one of the same id. Returns the id.

        Raises InstanceExists where one of this id is unfinished, unless `replace_running`.
        """
        instance_id = instance_id or uuid.uuid4().hex
        with self._tables.transaction():
            old = self._tables.instance(instance_id)
            if old is not None and not old.finished and not replace_running:
                raise InstanceExists(instance_id, old.status)
            self._tables.create(name, instance_id, input_json)
        return instance_id

    def post(self, instance_id: str, message: Event) -> None:
        """Send `message` to the instance, whatever its execution."""
        with self._tables.transaction():
            self._tables.post(instance_id, None, message)

    def finish_activity(self, task: ActivityTask, result: Event) -> None:
        """Take `task` off the list and send its `result`; to no avail if its execution is over."""
        with self._tables.transaction():
            self._tables.drop_activity(task)
            self._report(task.instance_id, task.execution_id, result)

    def suspend(self, instance: Instance, suspended: bool, messages: Sequence[Message]) -> None:
        """Apply suspend and resume `messages`; `suspended` is the last one's word."""
        with self._tables.transaction():
            self._tables.consume(messages)
            status = Status.SUSPENDED if suspended else Status.RUNNING
            self._tables.update(instance, status=status)

    def terminate(self, instance: Instance, reason: str) -> Effects:
        """End `instance` with `reason` as its output. Its activities go on, its children too."""
        effects = Effects()
        with self._tables.transaction():
            ended = event(EventType.EXECUTION_TERMINATED, Input=reason)
            self._tables.append(instance.id, self._tables.history_length(instance.id), [ended])
            self._finish(instance, Status.TERMINATED, json.dumps(reason), effects)
        return effects

    def commit(
        self, instance: Instance, past: int, consumed: Sequence[Message], outcome: Outcome
    ) -> Effects:
        """Write one episode: `past` events were there before it, `consumed` led to it."""
        effects = Effects()
        with self._tables.transaction():
            self._tables.consume(consumed)
            self._tables.append(instance.id, past, outcome.events)
            for decision in outcome.decisions:
                self._carry_out(instance, decision, effects)
            self._tables.drop_timers(instance, outcome.cancelled_timers)
            if outcome.custom_status is not None:
                self._tables.update(instance, custom_status=outcome.custom_status)
            if outcome.next_input is not None:
                self._continue_as_new(instance, outcome, effects)
            elif outcome.status in Status.FINISHED:
                self._finish(instance, outcome.status, outcome.output, effects)
            else:
                waits = json.dumps(outcome.open_waits)
                self._tables.update(instance, status=outcome.status, open_waits=waits)
        return effects

    def purge(self, instance_id: str) -> bool:
        """Forget a finished instance. False if there is none of that id."""
        with self._tables.transaction():
            instance = self._tables.instance(instance_id)
            if instance is None or not instance.finished:
                return False
            self._tables.delete(instance_id)
        return True

    def _carry_out(self, instance: Instance, decision: Event, effects: Effects) -> None:
        task_id = decision["EventId"]
        match decision["EventType"]:
            case EventType.TASK_SCHEDULED:
                task = self._tables.add_activity(
                    instance, task_id, decision["Name"], decision["Input"]
                )
                effects.activities.append(task)
            case EventType.TIMER_CREATED:
                fire_at = decision["FireAt"]
                due = time.time() + max(0, int(parse_time(fire_at).timestamp() - time.time()))
                fired = event(EventType.TIMER_FIRED, at=fire_at, TimerId=task_id, FireAt=fire_at)
                self._tables.post(instance.id, instance.execution_id, fired, due)
                effects.timers.append((instance.id, due))
            case EventType.SUB_ORCHESTRATION_CREATED:
                self._start_child(instance, decision, effects)

    def _start_child(self, parent: Instance, decision: Event, effects: Effects) -> None:
        task_id, name = decision["EventId"], decision["Name"]
        child_id = decision["InstanceId"] or f"{parent.execution_id}:{task_id}"
        old = self._tables.instance(child_id)
        if old is not None and not old.finished:
            exists = InstanceExists(child_id, old.status)
            failed = _child_failed(task_id, f"Orchestrator function '{name}' failed: {exists}")
            self._tables.post(parent.id, parent.execution_id, failed)
            effects.wake.append(parent.id)
            return
        child_input = None if decision["Input"] is None else json.dumps(decision["Input"])
        self._tables.create(name, child_id, child_input, parent, task_id)
        effects.wake.append(child_id)

    def _continue_as_new(self, instance: Instance, outcome: Outcome, effects: Effects) -> None:
        execution_id = uuid.uuid4().hex
        self._tables.forget_execution(instance)
        started, *carried = next_execution(instance, outcome)
        self._tables.post(instance.id, execution_id, started)
        for message in carried:  # by their own times they come before events still held back
            due = parse_time(message["Timestamp"]).timestamp()
            self._tables.post(instance.id, None, message, due)
        self._tables.update(
            instance, execution_id=execution_id, input=outcome.next_input,
            status=Status.RUNNING, open_waits="{}",
        )  # fmt: skip
        effects.wake.append(instance.id)

    def _finish(
        self, instance: Instance, status: str, output: str | None, effects: Effects
    ) -> None:
        self._tables.update(instance, status=status, output=output, open_waits="{}")
        self._tables.drop_messages(instance.id)
        if instance.parent_id is None or instance.parent_task_id is None:
            return
        if status == Status.COMPLETED:
            result = event(
                EventType.SUB_ORCHESTRATION_COMPLETED,
                TaskScheduledId=instance.parent_task_id,
                Result=output,
            )
        else:
            result = _child_failed(instance.parent_task_id, str(json.loads(output or "null")))
        self._report(instance.parent_id, instance.parent_execution_id, result)
        effects.wake.append(instance.parent_id)

    def _report(self, instance_id: str, execution_id: str | None, result: Event) -> None:
        """Send `result` to an execution, unless it is over."""
        instance = self._tables.instance(instance_id)
        if instance and instance.execution_id == execution_id and not instance.finished:
            self._tables.post(instance_id, execution_id, result)


def _child_failed(task_id: int, reason: str) -> Event:
    return event(
        EventType.SUB_ORCHESTRATION_FAILED,
        TaskScheduledId=task_id,
        Reason=reason,
        Details=failure_details(reason),
    )
