"""The engine: runs an episode for each instance with new messages, and runs timers and activities.

One asyncio task processes an instance while it has messages, and a lease excludes other hosts, so an
instance never has two concurrent episodes. Writes of this host wake the instance immediately; writes
of others are found by polling. Only the event loop's thread uses the store. The replay is user code
and can take a second for thousands of events, so it runs in another thread and does not block HTTP
requests and queue leases.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from local.functions.durable import versions
from local.functions.durable.activities import ActivityWorker
from local.functions.durable.episode import Instance, Outcome, run_episode
from local.functions.durable.history import Event, EventType, Status
from local.functions.durable.leases import ActivityTask
from local.functions.durable.replay import use_fast_time_parser
from local.functions.durable.store import Claim, Effects, Store
from local.functions.durable.tables import Tables
from local.functions.durable.walk import FunctionNames
from local.functions.indexing import Function
from local.functions.invoke import Invoker
from local.functions.settings import DurableSettings

_log = logging.getLogger(__name__)

# After a long replay, an instance pauses for as long as the replay took, up to this many seconds.
# Messages that arrive meanwhile share the next replay, which bounds the cost of a wide fan-out.
_MAX_PAUSE = 0.25
_RETRY_AFTER_ERROR = 1.0
_MAX_SLEEP = 60.0  # seconds, since the wall clock may change or the machine be suspended
_FIRST_POLL = 0.05  # seconds; doubles up to maxQueuePollingInterval while idle


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
        self._tables, self._settings = tables, settings
        self._leases = tables.leases(settings.message_visibility, settings.activity_visibility)
        self.store = Store(tables, self._leases, settings.default_version)
        limit = settings.max_orchestrators
        self._slots = asyncio.Semaphore(limit)
        self._threads = ThreadPoolExecutor(limit, thread_name_prefix="replay")
        self._activities = ActivityWorker(
            activities,
            invoker,
            settings.max_activities,
            self._leases.take_activities,
            self._activity_done,
        )
        self._histories: dict[str, tuple[str, list[Event]]] = {}
        """Instance id -> (execution id, history)."""
        self._awake: set[str] = set()
        self._alarms: dict[str, tuple[float, asyncio.TimerHandle]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._poll_delay = _FIRST_POLL
        self._stopped = True

    def start(self) -> None:
        """Resume the instances in the store. An engine that is not started runs nothing; other hosts
        process what its store contains."""
        use_fast_time_parser()
        self._stopped = False
        self._background = [asyncio.create_task(_repeat(f)) for f in (self._poll, self._renew)]

    async def stop(self, grace: float = 2.0) -> None:
        """Finish running episodes, and give activities `grace` seconds. Then release all leases, so
        that other hosts can continue immediately."""
        self._stopped = True
        await self._activities.stop(grace)
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks.values()), timeout=grace)
            for task in late:
                task.cancel()
        for task in self._background:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._leases.release()

    def wake(self, instance_id: str) -> None:
        """Process the messages of an instance soon."""
        if self._stopped:
            return
        self._awake.add(instance_id)
        if instance_id not in self._tasks:
            self._tasks[instance_id] = asyncio.create_task(self._process(instance_id))

    def _wake_at(self, instance_id: str, due: float) -> None:
        """Wake an instance at the Unix time `due`, unless it wakes earlier anyway."""
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
            delay = min(remaining, _MAX_SLEEP)
            alarm = asyncio.get_running_loop().call_later(delay, self._set_alarm, instance_id, due)
            self._alarms[instance_id] = (due, alarm)

    async def _process(self, instance_id: str) -> None:
        try:
            while instance_id in self._awake and not self._stopped:
                self._awake.discard(instance_id)
                async with self._slots:
                    started = time.monotonic()
                    await self._episode(instance_id)
                    spent = time.monotonic() - started
                if instance_id in self._awake:
                    await asyncio.sleep(min(spent, _MAX_PAUSE))
        except Exception:
            _log.exception("An episode of %s could not be stored; retrying", instance_id)
            self._histories.pop(instance_id, None)
            self._wake_at(instance_id, time.time() + _RETRY_AFTER_ERROR)
        finally:
            del self._tasks[instance_id]

    async def _episode(self, instance_id: str) -> None:
        claim, later = self.store.claim(instance_id)
        if later is not None:
            self._wake_at(instance_id, later)
        if claim is None:
            return
        instance = claim.instance
        function = self._orchestrators.get(instance.name)
        if not versions.runnable(instance.version, self._settings):
            if self._settings.version_failure == "Fail":
                failed = versions.mismatch([m.event for m in claim.messages])
                self._commit(claim, self._history(instance), failed)
            else:
                self.store.abandon(claim)
                self.wake(instance.id)  # to schedule the next attempt
        elif claim.control:
            self._control(claim)
        else:
            history, started = self._history(instance), time.monotonic()
            outcome = await asyncio.get_running_loop().run_in_executor(
                self._threads,
                run_episode,
                function.call if function else None,
                instance,
                history,
                [m.event for m in claim.messages],
                self.names,
            )
            # The host calls an orchestrator like any function, once for each episode.
            result = "Failed" if outcome.status == Status.FAILED else "Succeeded"
            milliseconds = (time.monotonic() - started) * 1000
            _log.info("Executed '%s' (%s, %.0f ms)", instance.name, result, milliseconds)
            self._commit(claim, history, outcome)

    def _commit(self, claim: Claim, history: list[Event], outcome: Outcome) -> None:
        instance = claim.instance
        effects = self.store.commit(claim, len(history), outcome)
        if effects is None:
            self._histories.pop(instance.id, None)
            self.wake(instance.id)
            return
        history.extend(outcome.events)
        if outcome.status != Status.RUNNING or outcome.next_input is not None:
            self._histories.pop(instance.id, None)
        if outcome.output is not None:
            _log.info("Orchestration %s (%s): %s", instance.id, instance.name, outcome.status)
        self._apply(effects)
        self.wake(instance.id)  # an event that was held back may be deliverable now

    def _control(self, claim: Claim) -> None:
        """Handle terminate, suspend and resume."""
        instance = claim.instance
        for message in claim.messages:
            if message.event["EventType"] == EventType.EXECUTION_TERMINATED:
                self._histories.pop(instance.id, None)
                self._apply(self.store.terminate(instance, message.event["Input"]))
                _log.info("Orchestration %s (%s): Terminated", instance.id, instance.name)
                return
        self.store.suspend(claim)
        self.wake(instance.id)

    def _activity_done(self, task: ActivityTask, result: Event) -> None:
        self.store.finish_activity(task, result)
        self.wake(task.instance_id)

    def _apply(self, effects: Effects) -> None:
        self._activities.fill()
        for instance_id in effects.wake:
            self.wake(instance_id)
        for instance_id, due in effects.timers:
            self._wake_at(instance_id, due)

    def _history(self, instance: Instance) -> list[Event]:
        """The history: this host's copy, unless another host has run the instance since."""
        execution_id, events = self._histories.get(instance.id, ("", []))
        known = execution_id == instance.execution_id
        if not known or len(events) != self._tables.history_length(instance.id):
            events = self._tables.history(instance.id)
            self._histories[instance.id] = (instance.execution_id, events)
        return events

    def _poll(self) -> float:
        """Find writes of other hosts, and activities with expired leases. Returns the seconds until
        the next poll."""
        self._poll_delay = min(2 * self._poll_delay, self._settings.max_polling_interval)
        if self._tables.changed():
            self._poll_delay = _FIRST_POLL
            for instance_id, due in self._tables.waiting():
                self._wake_at(instance_id, due)
        self._activities.fill()
        expires = self._leases.next_expiry()
        if expires is None:
            return self._poll_delay
        return min(self._poll_delay, max(0, expires - time.time()))

    def _renew(self) -> float:
        if self._activities.busy or self._tasks:
            self._leases.renew()
        return self._leases.renewal_interval


async def _repeat(step: Callable[[], float]) -> None:
    """Call `step` forever. It returns the seconds until its next call."""
    while True:
        try:
            pause = step()
        except sqlite3.Error:
            _log.exception("The task hub cannot be read; retrying")
            pause = _RETRY_AFTER_ERROR
        await asyncio.sleep(pause)
