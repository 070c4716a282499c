"""Threads for database operations: apart from each other, and from those of the event loop.

The event loop's own threads resolve host names. A database that does not answer must not keep them, and
with them every call to Azure.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from fleet.model.database_uri import server_of
from fleet.store.database import DatabaseBusy

T = TypeVar("T")

QUEUE_TIMEOUT = 10.0
"""Seconds that an operation waits for a thread before it is refused."""


class Executor:
    """Runs at most `threads` operations concurrently, of which at most `share` for one server."""

    def __init__(self, name: str, threads: int, share: int) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._threads, self._share = threads, share
        # Semaphores belong to one loop. Weak, because requests choose the servers.
        self._slots: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, work: Callable[..., T], uri: str, *arguments: Any) -> T:
        """Run `work(uri, *arguments)` in a thread. Raises its exceptions, and DatabaseBusy.

        The operation keeps its slot until it ends, even if the caller stops waiting.
        """
        slots = self._slot(server_of(uri) or "", self._share), self._slot(None, self._threads)
        try:
            async with asyncio.timeout(QUEUE_TIMEOUT):
                await _acquire(*slots)
        except TimeoutError:
            raise DatabaseBusy(
                f"The app waits for databases with all its threads: none became free within "
                f"{QUEUE_TIMEOUT:g} seconds. Nothing was sent."
            ) from None
        loop = asyncio.get_running_loop()

        def release(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_release, *slots)

        future = self._pool.submit(copy_context().run, work, uri, *arguments)
        future.add_done_callback(release)
        return await asyncio.wrap_future(future)

    async def finish(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call `work` in a thread without waiting for a slot: for the end of an operation."""
        return await asyncio.wrap_future(self._pool.submit(copy_context().run, work, *arguments))

    def _slot(self, server: str | None, size: int) -> asyncio.Semaphore:
        key = (asyncio.get_running_loop(), server)
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = asyncio.Semaphore(size)
        return slot


async def _acquire(first: asyncio.Semaphore, second: asyncio.Semaphore) -> None:
    await first.acquire()
    try:
        await second.acquire()
    except BaseException:
        first.release()
        raise


def _release(*slots: asyncio.Semaphore) -> None:
    for slot in slots:
        slot.release()


OWN = Executor("own", 8, 8)
"""The app's own database, for submissions, leases and the list of fleets."""
QUERIES = Executor("queries", 16, 4)
"""Plans, logs and progress, of any database, while an HTTP request waits."""
ACTIVITIES = Executor("activities", 32, 8)
"""Activities and timers."""
