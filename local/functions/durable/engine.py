"""The engine: gives every instance with new messages its episodes, and keeps timers and activities.

One asyncio task serves an instance while it has messages, so an instance never has two episodes at
a time. The store is used from the event loop's thread alone. The replay itself, which is user code
and can take a second for a history of thousands of events, runs in a thread, so that HTTP requests
and queue leases do not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from local.functions.durable.activities import ActivityWorker
from local.functions.durable.episode import Instance, Outcome, run_episode
from local.functions.durable.history import CONTROL, Event, EventType, Status
from local.functions.durable.replay import read_times_fast
from local.functions.durable.store import Effects, Store
from local.functions.durable.tables import ActivityTask, Message, Tables
from local.functions.durable.walk import FunctionNames
from local.functions.indexing import Function
from local.functions.invoke import Invoker
from local.functions.settings import DurableSettings

_log = logging.getLogger(__name__)

# After a long replay an instance rests as long as the replay took, up to this many seconds. The
# messages of that time share the next replay, which bounds the cost of a wide fan-out.
_MAX_REST = 0.25
_RETRY_AFTER_ERROR = 1.0
_LONGEST_NAP = 60.0  # timers look at the wall clock at least this often: it can be set, or sleep


class Engine:
    """Runs the orchestrations and activities among `functions`, with all state in `tables`."""

    def __init__(
        self,
        tables: Tables,
        functions: Sequence[Function],
        invoker: Invoker,
        settings: DurableSettings,
    ) -> None:
        activities = {f.name: f for f in functions if f.kind == "activityTrigger"}
        self._orchestrators = {f.name: f for f in functions if f.kind == "orchestrationTrigger"}
        self.names = FunctionNames(activities.keys(), self._orchestrators.keys())
        self.store = Store(tables)
        self._tables = tables
        limit = settings.max_orchestrators
        self._slots = asyncio.Semaphore(limit)
        self._threads = ThreadPoolExecutor(limit, thread_name_prefix="replay")
        self._activities = ActivityWorker(
            activities, invoker, settings.max_activities, self._activity_done
        )
        self._histories: dict[str, list[Event]] = {}
        self._awake: set[str] = set()
        self._alarms: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    def start(self) -> None:
        """Go on with whatever the store holds."""
        read_times_fast()
        self._activities.add(self._tables.activities())
        for instance_id, due in self._tables.waiting():
            self._wake_at(instance_id, due)

    async def stop(self, grace: float = 2.0) -> None:
        """Finish the episodes that run, and give activities `grace` seconds."""
        self._stopped = True
        await self._activities.stop(grace)
        if self._serving:
            _, late = await asyncio.wait(set(self._serving.values()), timeout=grace)
            for task in late:
                task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def wake(self, instance_id: str) -> None:
        """Look at the messages of an instance soon."""
        if self._stopped:
            return
        self._awake.add(instance_id)
        if instance_id not in self._serving:
            self._serving[instance_id] = asyncio.create_task(self._serve(instance_id))

    def _wake_at(self, instance_id: str, due: float) -> None:
        """Wake an instance at the Unix time `due`, unless it wakes earlier: then it sees for itself
        what is still to come."""
        earliest, alarm = self._alarms.get(instance_id, (None, None))
        if earliest is None or due < earliest:
            if alarm is not None:
                alarm.cancel()
            self._set_alarm(instance_id, due)

    def _set_alarm(self, instance_id: str, due: float) -> None:
        remaining = due - time.time()
        if remaining <= 0:
            self._alarms.pop(instance_id, None)
            self.wake(instance_id)
        elif not self._stopped:
            nap = min(remaining, _LONGEST_NAP)
            alarm = asyncio.get_running_loop().call_later(nap, self._set_alarm, instance_id, due)
            self._alarms[instance_id] = (due, alarm)

    async def _serve(self, instance_id: str) -> None:
        try:
            while instance_id in self._awake and not self._stopped:
                self._awake.discard(instance_id)
                async with self._slots:
                    started = time.monotonic()
                    await self._episode(instance_id)
                    spent = time.monotonic() - started
                if instance_id in self._awake:
                    await asyncio.sleep(min(spent, _MAX_REST))
        except Exception:
            _log.exception("An episode of %s could not be kept; it is tried again", instance_id)
            self._histories.pop(instance_id, None)
            self._wake_at(instance_id, time.time() + _RETRY_AFTER_ERROR)
        finally:
            del self._serving[instance_id]

    async def _episode(self, instance_id: str) -> None:
        instance = self._tables.instance(instance_id)
        if instance is None or instance.finished:
            self._tables.drop_messages(instance_id)
            return
        now, messages = time.time(), self._tables.messages(instance)
        due = [m for m in messages if m.due <= now]
        if len(due) < len(messages):
            self._wake_at(instance_id, messages[len(due)].due)
        if self._control(instance, [m for m in due if m.event["EventType"] in CONTROL]):
            return
        deliverable = _deliverable(instance, due)
        if not deliverable:
            return
        function = self._orchestrators.get(instance.name)
        history = self._history(instance)
        outcome = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            run_episode,
            function.call if function else None,
            instance,
            history,
            [m.event for m in deliverable],
            self.names,
        )
        self._commit(instance, history, deliverable, outcome)

    def _commit(
        self,
        instance: Instance,
        history: list[Event],
        consumed: Sequence[Message],
        outcome: Outcome,
    ) -> None:
        current = self._tables.instance(instance.id)
        if current is None or current.execution_id != instance.execution_id:
            self._histories.pop(instance.id, None)  # replaced during the replay
            self.wake(instance.id)
            return
        effects = self.store.commit(instance, len(history), consumed, outcome)
        history.extend(outcome.events)
        if outcome.status != Status.RUNNING or outcome.next_input is not None:
            self._histories.pop(instance.id, None)
        if outcome.output is not None:
            _log.info("Orchestration %s (%s): %s", instance.id, instance.name, outcome.status)
        self._apply(effects)
        self.wake(instance.id)  # an event that was held back may have its wait now

    def _control(self, instance: Instance, messages: Sequence[Message]) -> bool:
        """Obey terminate, suspend and resume. Whether there is nothing more to do now."""
        for message in messages:
            if message.event["EventType"] == EventType.EXECUTION_TERMINATED:
                self._histories.pop(instance.id, None)
                self._apply(self.store.terminate(instance, message.event["Input"]))
                _log.info("Orchestration %s (%s): Terminated", instance.id, instance.name)
                return True
        suspended = instance.status == Status.SUSPENDED
        if messages:
            suspended = messages[-1].event["EventType"] == EventType.EXECUTION_SUSPENDED
            self.store.suspend(instance, suspended, messages)
        return suspended

    def _activity_done(self, task: ActivityTask, result: Event) -> None:
        self.store.finish_activity(task, result)
        self.wake(task.instance_id)

    def _apply(self, effects: Effects) -> None:
        self._activities.add(effects.activities)
        for instance_id in effects.wake:
            self.wake(instance_id)
        for instance_id, due in effects.timers:
            self._wake_at(instance_id, due)

    def _history(self, instance: Instance) -> list[Event]:
        if instance.id not in self._histories:
            self._histories[instance.id] = self._tables.history(instance.id)
        return self._histories[instance.id]


def _deliverable(instance: Instance, due: Sequence[Message]) -> list[Message]:
    """The messages for the next episode: all but events that no wait is open for."""
    room = dict(instance.open_waits)
    chosen = []
    for message in due:
        kind = message.event["EventType"]
        if kind in CONTROL:
            continue
        if kind == EventType.EVENT_RAISED:
            name = message.event["Name"]
            if room.get(name, 0) == 0:
                continue
            room[name] -= 1
        chosen.append(message)
    return chosen
