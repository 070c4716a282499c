"""The operations on orchestration instances, each of them one transaction.

A crash therefore leaves either all of an episode or nothing of it. The messages of an episode are
claimed first, so that no other host runs the instance meanwhile.
"""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from local.functions.durable.episode import Instance, Outcome, next_execution
from local.functions.durable.history import (
    CONTROL,
    Event,
    EventType,
    Status,
    event,
    failure_details,
    parse_time,
    timestamp,
)
from local.functions.durable.leases import ActivityTask, Leases
from local.functions.durable.tables import Message, Tables


class InstanceExists(Exception):
    """An unfinished instance with the id of the new one exists."""

    def __init__(self, status: str) -> None:
        super().__init__(f"An Orchestration instance with the status {status} already exists.")


@dataclass(frozen=True, slots=True)
class Claim:
    """The messages claimed for one step of an instance: for the host (`control`) or for an episode."""

    instance: Instance
    messages: list[Message]
    control: bool


@dataclass(slots=True)
class Effects:
    """What the engine must do after a commit: wake instances with new messages, and set timers at
    (instance, Unix time)."""

    wake: list[str] = field(default_factory=list)
    timers: list[tuple[str, float]] = field(default_factory=list)


class Store:
    """The transactions on `tables`. `version` is the default version of new instances."""

    def __init__(self, tables: Tables, leases: Leases, version: str | None) -> None:
        self._tables, self._leases, self._version = tables, leases, version

    def check_finished(self, instance_id: str) -> None:
        """Raises InstanceExists while an instance of this id is unfinished."""
        old = self._tables.instance(instance_id)
        if old is not None and not old.finished:
            raise InstanceExists(old.status)

    def start(
        self, name: str, instance_id: str, input_json: str | None, version: str | None = None
    ) -> None:
        """Create an instance. It replaces one of the same id, unfinished or not."""
        with self._tables.transaction():
            self._tables.create(name, instance_id, input_json, version or self._version)

    def post(self, instance_id: str, message: Event) -> None:
        """Send `message` to the current execution of the instance, whichever that is."""
        with self._tables.transaction():
            self._tables.post(instance_id, None, message)

    def claim(self, instance_id: str) -> tuple[Claim | None, float | None]:
        """Claim the messages for the next step of an instance, if any. Also returns the Unix time at
        which to check again."""
        with self._tables.transaction():
            instance = self._tables.instance(instance_id)
            if instance is None or instance.finished:
                self._tables.drop_messages(instance_id)
                return None, None
            now, messages = time.time(), self._tables.messages(instance, self._leases.owner)
            later = min((m.due for m in messages if m.due > now), default=None)
            due = [m for m in messages if m.due <= now]
            control = [m for m in due if m.event["EventType"] in CONTROL]
            chosen = control or self._deliverable(instance, due)
            if not chosen:
                return None, later
            if not self._leases.take_instance(instance_id):
                expiry = self._leases.expires_at(instance_id)
                return None, expiry if later is None else min(expiry, later)
            self._leases.take_messages([m.number for m in chosen])
        return Claim(instance, chosen, bool(control)), later

    def abandon(self, claim: Claim) -> None:
        """Release a claimed step, for another host or for a later attempt."""
        with self._tables.transaction():
            self._leases.abandon_messages([m.number for m in claim.messages])
            self._leases.release_instance(claim.instance.id)

    def finish_activity(self, task: ActivityTask, result: Event) -> None:
        """Remove `task` and send its `result`. Has no effect if the execution is over, or if another
        host has leased the activity."""
        with self._tables.transaction():
            if self._tables.drop_activity(task.number, self._leases.owner):
                self._report(task.instance_id, task.execution_id, result)

    def suspend(self, claim: Claim) -> None:
        """Apply the last of the claimed suspend and resume messages."""
        suspended = claim.messages[-1].event["EventType"] == EventType.EXECUTION_SUSPENDED
        with self._tables.transaction():
            self._tables.consume(claim.messages)
            status = Status.SUSPENDED if suspended else Status.RUNNING
            self._tables.update(claim.instance, status=status)
            self._leases.release_instance(claim.instance.id)

    def terminate(self, instance: Instance, reason: str) -> Effects:
        """Terminate `instance` with `reason` as its output. Its activities and children keep running."""
        effects = Effects()
        with self._tables.transaction():
            ended = event(EventType.EXECUTION_TERMINATED, Input=reason)
            self._tables.append(instance.id, self._tables.history_length(instance.id), [ended])
            self._finish(instance, Status.TERMINATED, json.dumps(reason), effects)
        return effects

    def commit(self, claim: Claim, past: int, outcome: Outcome) -> Effects | None:
        """Store one episode, after `past` events of history, and consume the claimed messages.

        Returns None and stores nothing if the claim is lost: the instance was replaced, or another
        host has leased it.
        """
        effects, instance = Effects(), claim.instance
        with self._tables.transaction():
            if not self._leases.holds(instance.id, instance.execution_id):
                return None
            self._tables.consume(claim.messages)
            self._tables.append(instance.id, past, outcome.events)
            for decision in outcome.decisions:
                self._execute(instance, decision, effects)
            if outcome.custom_status is not None:
                self._tables.update(instance, custom_status=outcome.custom_status)
            if outcome.next_input is not None:
                self._continue_as_new(instance, outcome, effects)
            elif outcome.status in Status.FINISHED:
                self._finish(instance, outcome.status, outcome.output, effects)
            else:
                waits = json.dumps(outcome.open_waits)
                self._tables.update(instance, status=outcome.status, open_waits=waits)
            self._leases.release_instance(instance.id)
        return effects

    def purge(self, instance_id: str) -> bool:
        """Delete a finished instance. Returns False if there is none with that id."""
        with self._tables.transaction():
            instance = self._tables.instance(instance_id)
            if instance is None or not instance.finished:
                return False
            self._tables.delete(instance_id)
        return True

    def _execute(self, instance: Instance, decision: Event, effects: Effects) -> None:
        task_id = decision["EventId"]
        match decision["EventType"]:
            case EventType.TASK_SCHEDULED:
                self._tables.add_activity(instance, task_id, decision["Name"], decision["Input"])
            case EventType.TIMER_CREATED:
                fire_at = decision["FireAt"]
                due = _visible_from(parse_time(fire_at).timestamp())
                fired = event(EventType.TIMER_FIRED, TimerId=task_id, FireAt=fire_at)
                self._tables.post(instance.id, instance.execution_id, fired, due)
                effects.timers.append((instance.id, due))
            case EventType.SUB_ORCHESTRATION_CREATED:
                self._start_child(instance, decision, effects)

    def _start_child(self, parent: Instance, decision: Event, effects: Effects) -> None:
        task_id, name = decision["EventId"], decision["Name"]
        child_id = decision["InstanceId"]
        old = self._tables.instance(child_id)
        if old is not None and not old.finished:
            exists = InstanceExists(old.status)
            failed = _child_failed(task_id, f"Orchestrator function '{name}' failed: {exists}")
            self._tables.post(parent.id, parent.execution_id, failed)
            effects.wake.append(parent.id)
            return
        child_input = None if decision["Input"] is None else json.dumps(decision["Input"])
        version = decision["Version"] or self._version
        self._tables.create(name, child_id, child_input, version, parent, task_id)
        effects.wake.append(child_id)

    def _continue_as_new(self, instance: Instance, outcome: Outcome, effects: Effects) -> None:
        execution_id = uuid.uuid4().hex
        self._tables.delete_execution(instance)
        started, *carried = next_execution(instance, outcome, execution_id)
        self._tables.post(instance.id, execution_id, started)
        for message in carried:  # their own times order them before events still held back
            due = parse_time(message["Timestamp"]).timestamp()
            self._tables.post(instance.id, None, message, due)
        self._tables.update(
            instance, execution_id=execution_id, input=outcome.next_input,
            status=Status.RUNNING, open_waits="{}", created=timestamp(),
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

    def _deliverable(self, instance: Instance, due: Sequence[Message]) -> list[Message]:
        """The messages for the next episode: all except events without an open wait; none while the
        first message of an execution is hidden."""
        open_waits = dict(instance.open_waits)
        chosen = []
        for message in due if instance.status != Status.SUSPENDED else ():
            if message.event["EventType"] == EventType.EVENT_RAISED:
                name = message.event["Name"]
                if open_waits.get(name, 0) == 0:
                    continue
                open_waits[name] -= 1
            chosen.append(message)
        started = any(m.event["EventType"] == EventType.EXECUTION_STARTED for m in chosen)
        return chosen if started or self._tables.history_length(instance.id) else []

    def _report(self, instance_id: str, execution_id: str | None, result: Event) -> None:
        """Send `result` to an execution, unless it is finished."""
        instance = self._tables.instance(instance_id)
        if instance and instance.execution_id == execution_id and not instance.finished:
            self._tables.post(instance_id, execution_id, result)


def _visible_from(fire_at: float) -> float:
    """When a timer's message becomes visible. The provider rounds the delay down to whole seconds, so a
    timer fires up to a second early."""
    now = time.time()
    return now + max(0, math.floor(fire_at - now))


def _child_failed(task_id: int, reason: str) -> Event:
    return event(
        EventType.SUB_ORCHESTRATION_FAILED,
        TaskScheduledId=task_id,
        Reason=reason,
        Details=failure_details(reason),
    )
