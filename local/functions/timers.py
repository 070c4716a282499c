"""Timer triggers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from azure.functions.timer import TimerRequest

from local.functions.indexing import Function
from local.functions.invoke import Invoker
from local.functions.ncrontab import Schedule
from local.functions.settings import SettingsError
from local.process import announce

_log = logging.getLogger(__name__)
LEASE_SECONDS = 15.0
"""The Functions host's `ListenerLockPeriod`."""
_LEASE_POLL_SECONDS = 1.0
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


class Lease:
    """A lease in a file: one host has it, until `seconds` after its last renewal."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._owner, self.seconds = path, uuid.uuid4().hex, seconds

    def take(self) -> bool:
        """Take or renew the lease. False if another host has it."""
        return self._set(time.time() + self.seconds)

    def release(self) -> None:
        """Let another host take the lease immediately, if this one has it."""
        self._set(0)

    def _set(self, until: float) -> bool:
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            owner, _, expires = file.read().partition(" ")
            if owner not in ("", self._owner) and float(expires) > time.time():
                return False
            file.truncate(0)
            file.write(f"{self._owner} {until}")
        return True


class Timers:
    """All timers of an app. With several hosts, the one that has the lease runs them.

    A killed host keeps it until it expires. In Azure, each timer has its own lease, a blob's.
    """

    def __init__(self, timers: Sequence[Timer], lease: Lease) -> None:
        self._timers, self._lease = timers, lease
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start waiting for the lease, if there are timers."""
        if self._timers:
            self._task = asyncio.create_task(self._run())

    async def stop(self, grace: float) -> None:
        """Stop the timers, then release the lease. Running calls get `grace` seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            await self._stop_timers(grace)
            self._lease.release()

    async def _run(self) -> None:
        running = False
        while True:
            has_lease = self._lease.take()
            if has_lease and not running:
                for timer in self._timers:
                    timer.start()
            elif running and not has_lease:
                await self._stop_timers(0)
            running = has_lease
            await asyncio.sleep(min(_LEASE_POLL_SECONDS, self._lease.seconds / 3))

    async def _stop_timers(self, grace: float) -> None:
        await asyncio.gather(*(timer.stop(grace) for timer in self._timers))


async def _sleep_until(due: datetime) -> None:
    # There is no event for a changed wall clock or a resumed machine.
    while (remaining := (due - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(remaining, _MAX_SLEEP))
