"""The lease of a fleet's row, held while something of the fleet is started in the task hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from fleet.store import claims

PATIENCE_SECONDS = 10.0
"""For another holder: it looks into the task hub and starts an instance, which takes milliseconds."""

RETRY_SECONDS = 0.1


@asynccontextmanager
async def lease(uri: str, batch_id: int) -> AsyncIterator[claims.Lease | None]:
    """Hold the lease of a fleet; None where the table has no such fleet.

    Raises LeaseHeld where others hold it for PATIENCE_SECONDS, DatabaseUnreachable.
    """
    with ExitStack() as stack:
        held = await _acquired(stack, uri, batch_id)
        yield held
        # Not at the end of `with`: a commit is I/O.
        await asyncio.to_thread(stack.close)


async def _acquired(stack: ExitStack, uri: str, batch_id: int) -> claims.Lease | None:
    """Tries again rather than wait in the database: the holder needs a thread to release it."""
    until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            return await asyncio.to_thread(stack.enter_context, claims.leased(uri, batch_id))
        except claims.LeaseHeld:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(RETRY_SECONDS)
