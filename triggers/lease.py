"""Claims and leases of fleets for triggers, in their own threads, so that activities do not wait."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any, TypeVar

from fleet.store import claims

T = TypeVar("T")

LEASE_TIMEOUT = 10.0
"""Seconds to wait for another holder, which needs milliseconds."""
RETRY_SECONDS = 0.2
START_TIMEOUT = 20.0
"""Seconds to start something under a lease: less than IDLE_TIMEOUT, which ends the lease."""

_threads = ThreadPoolExecutor(8, "claims")


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, functools.partial(function, *arguments))


@asynccontextmanager
async def lease(uri: str, batch_id: int) -> AsyncIterator[claims.Lease | None]:
    """Hold the lease of a fleet; None if the table has no such fleet.

    Raises LeaseHeld if it is held for LEASE_TIMEOUT, DatabaseUnreachable.
    """
    stack = ExitStack()
    try:
        yield await _acquire(stack, uri, batch_id)
    except BaseException as error:
        # The exit rolls back and raises the error again.
        await in_thread(stack.__exit__, type(error), error, error.__traceback__)
        raise
    await in_thread(stack.close)


async def _acquire(stack: ExitStack, uri: str, batch_id: int) -> claims.Lease | None:
    """Polls instead of waiting in the database, because the holder needs a thread to release it."""
    until = asyncio.get_running_loop().time() + LEASE_TIMEOUT
    while True:
        try:
            return await in_thread(stack.enter_context, claims.leased(uri, batch_id))
        except claims.LeaseHeld:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(RETRY_SECONDS)
