"""Runs activities: at least once, with bounded concurrency, oldest first."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from azure.functions import meta
from azure.functions.durable_functions import ActivityTriggerConverter

from local.functions.durable.history import SIZES, Event, EventType, event, failure_details
from local.functions.durable.leases import ActivityTask
from local.functions.indexing import Function
from local.functions.invoke import FunctionTimeout, Invoker

_log = logging.getLogger(__name__)


class ActivityWorker:
    """Runs activity tasks: `take` returns up to the given number, `report` gets each result event."""

    def __init__(
        self,
        functions: Mapping[str, Function],
        invoker: Invoker,
        limit: int,
        take: Callable[[int], list[ActivityTask]],
        report: Callable[[ActivityTask, Event], None],
    ) -> None:
        self._functions, self._invoker, self._limit = functions, invoker, limit
        self._take, self._report = take, report
        self._running: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether an activity is running here."""
        return bool(self._running)

    def fill(self) -> None:
        """Start activities up to the limit."""
        room = self._limit - len(self._running)
        if room <= 0 or self._stopped:
            return
        for one in self._take(room):
            task = asyncio.create_task(self._run(one))
            self._running.add(task)
            task.add_done_callback(self._on_done)

    async def stop(self, grace: float) -> None:
        """Start no more activities, and give running ones `grace` seconds.

        Cancelled activities have reported no result, so they run again after the next start.
        """
        self._stopped = True
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=grace)
            for task in late:
                task.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("The result of an activity could not be stored", exc_info=error)
        self.fill()

    async def _run(self, task: ActivityTask) -> None:
        function = self._functions.get(task.name)
        if function is None:  # it existed when the orchestrator called it
            result = _failed(task, f"The function '{task.name}' does not exist in this app.", "")
        else:
            result = await self._result(function, task)
        returned = result.get("Result") or result.get("Reason") or ""
        sizes = len(task.input or ""), len(returned)
        _log.info(SIZES, task.name, task.instance_id, *sizes, 0)
        self._report(task, result)

    async def _result(self, function: Function, task: ActivityTask) -> Event:
        try:
            argument = _decode(task.input)
            value = await self._invoker.call(function, argument)
            result = _encode(value)
        except FunctionTimeout as error:
            _log.error("Activity '%s' failed: %s", task.name, error)
            return _failed(task, str(error), "")
        except Exception as error:
            _log.error("Activity '%s' of %s failed", task.name, task.instance_id, exc_info=error)
            stack = "".join(traceback.format_exception(error))
            return _failed(task, f" {type(error).__name__}: {error}", stack)
        return event(EventType.TASK_COMPLETED, TaskScheduledId=task.task_id, Result=result)


def _failed(task: ActivityTask, message: str, stack: str) -> Event:
    """The failure event for the orchestrator.

    The worker sends "Type: text" between "\\nException:" and "\\nStack:". The extension extracts
    it by text search, so a "\\nStack:" in the user's message truncates it, and the leading space
    remains.
    """
    reason = f"Activity function '{task.name}' failed: {message.partition(chr(10) + 'Stack:')[0]}"
    return event(
        EventType.TASK_FAILED,
        TaskScheduledId=task.task_id,
        Reason=reason,
        Details=failure_details(reason, stack),
    )


def _decode(input_json: str | None) -> Any:
    datum = meta.Datum("null" if input_json is None else input_json, "json")
    return ActivityTriggerConverter.decode(datum, trigger_metadata=None)


def _encode(value: Any) -> str:
    return str(ActivityTriggerConverter.encode(value, expected_type=None).value)
