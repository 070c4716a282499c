"""Timer triggers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from azure.functions.timer import TimerRequest

from local.functions.indexing import Function
from local.functions.invoke import Invoker
from local.functions.ncrontab import Schedule
from local.functions.settings import SettingsError
from local.process import announce

_log = logging.getLogger(__name__)
_LOCK_RETRY_SECONDS = 1.0
_MAX_SLEEP = 30.0  # seconds, since the wall clock may change or the machine be suspended


class Timer:
    """Calls `function` on its schedule, without overlap.

    The next time is stored in `state_file`. If it passed while no host was running, the function is
    called immediately, as past due. `run_on_startup` and `use_monitor` work as in Azure. Raises
    SettingsError for an invalid schedule.
    """

    def __init__(self, function: Function, state_file: Path, invoker: Invoker) -> None:
        self._function, self._state_file, self._invoker = function, state_file, invoker
        try:
            self._schedule = Schedule.parse(str(function.trigger["schedule"]))
            self._schedule.next_after(datetime.now(UTC))
        except ValueError as error:
            raise SettingsError(f"function '{function.name}': {error}") from error
        self._task: asyncio.Task[None] | None = None
        self._calling = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self, grace: float) -> None:
        """Stop waiting, and give a running call `grace` seconds."""
        if self._task is not None:
            if self._calling:
                await asyncio.wait({self._task}, timeout=grace)
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        if self._missed():
            await self._call(past_due=True)
        elif self._function.trigger.get("runOnStartup"):
            await self._call(past_due=False)
        while True:
            due = self._schedule.next_after(datetime.now(UTC))
            self._save_next(due)
            await _sleep_until(due)
            await self._call(past_due=False)

    async def _call(self, *, past_due: bool) -> None:
        self._calling = True
        try:
            await self._invoker.call(self._function, TimerRequest(past_due=past_due))
        except Exception as error:
            _log.error("Function '%s' failed", self._function.name, exc_info=error)
        finally:
            self._calling = False

    def _missed(self) -> bool:
        if self._function.trigger.get("useMonitor") is False:
            return False
        with contextlib.suppress(OSError, ValueError, KeyError):
            due = datetime.fromisoformat(json.loads(self._state_file.read_text())["next"])
            return due <= datetime.now(UTC)
        return False

    def _save_next(self, due: datetime) -> None:
        announce(self._state_file, {"next": due.isoformat()})


class Timers:
    """All timers of an app. With several hosts, the one that holds `lock` runs them."""

    def __init__(self, timers: Sequence[Timer], lock: Path) -> None:
        self._timers, self._lock = timers, lock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start waiting for the lock, if there are timers."""
        if self._timers:
            self._task = asyncio.create_task(self._run())

    async def stop(self, grace: float) -> None:
        """Stop the timers, then release the lock. Running calls get `grace` seconds."""
        await asyncio.gather(*(timer.stop(grace) for timer in self._timers))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        with self._lock.open("w") as file:
            while not _try_lock(file):  # noqa: ASYNC110 - no event for another process's exit
                await asyncio.sleep(_LOCK_RETRY_SECONDS)
            for timer in self._timers:
                timer.start()
            await asyncio.Event().wait()


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


async def _sleep_until(due: datetime) -> None:
    # There is no event for a changed wall clock or a resumed machine.
    while (remaining := (due - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(remaining, _MAX_SLEEP))
