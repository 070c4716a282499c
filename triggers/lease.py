"""Leases of fleets for triggers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from fleet.store import claims
from fleet.store.executors import OWN

LEASE_TIMEOUT = 10.0
"""Seconds to wait for another request's lease, which usually lasts milliseconds."""
RETRY_SECONDS = 0.2
START_TIMEOUT = 20.0
"""Seconds to start something under a lease: less than IDLE_TIMEOUT, which ends the lease."""
PREPARE_TIMEOUT = START_TIMEOUT - 4
"""Of these, the seconds until the experiment is prepared. The rest is for the start itself."""


@asynccontextmanager
async def lease(uri: str, batch_id: int) -> AsyncIterator[claims.Lease | None]:
    """Hold the lease of a fleet; None if the table has no such fleet.

    Raises LeaseHeld if another request has it for LEASE_TIMEOUT, DatabaseUnreachable.
    """
    stack = ExitStack()
    try:
        yield await _acquire(stack, uri, batch_id)
    except BaseException as error:
        # The exit rolls back and raises the error again.
        await OWN.finish(stack.__exit__, type(error), error, error.__traceback__)
        raise
    await OWN.finish(stack.close)


async def _acquire(stack: ExitStack, uri: str, batch_id: int) -> claims.Lease | None:
    """Polls instead of waiting in the database: the release needs a thread of the same executor."""
    until = asyncio.get_running_loop().time() + LEASE_TIMEOUT
    while True:
        try:
            return await OWN.run(_enter, uri, batch_id, stack)
        except claims.LeaseHeld:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(RETRY_SECONDS)


def _enter(uri: str, batch_id: int, stack: ExitStack) -> claims.Lease | None:
    return stack.enter_context(claims.leased(uri, batch_id))
