"""Whether the fleets of batches are alive, from the task hub."""

from __future__ import annotations

import asyncio
from typing import Any

from fleet.api.instance_status import ALIVE
from fleet.azure.sweep import BatchStatus
from fleet.model import names
from triggers import durable_client
from triggers.sweep.sources import log_failure, optional_source

CONCURRENCY = 10


async def add_statuses(client: Any, statuses: dict[int, BatchStatus], batches: list[int]) -> None:
    """Add the status of each batch to `statuses`, except those that cannot be read."""
    async with optional_source(
        "The sweep cannot read the status of every fleet: it uses the deadlines of the others"
    ):
        for start in range(0, len(batches), CONCURRENCY):
            some = batches[start : start + CONCURRENCY]
            await asyncio.gather(*(_add_status(client, statuses, batch) for batch in some))


async def _add_status(client: Any, statuses: dict[int, BatchStatus], batch: int) -> None:
    try:
        statuses[batch] = await _status(client, names.instance_id(batch))
    except Exception as error:
        log_failure(
            f"The sweep cannot read the status of batch {batch}: it uses its deadline", error
        )


async def _status(client: Any, instance_id: str) -> BatchStatus:
    instance = await durable_client.find(client, instance_id)
    if instance is None:
        return "unknown"
    if instance["runtimeStatus"] in ALIVE:
        return "alive"
    return "done" if (instance.get("customStatus") or {}).get("phase") == "done" else "ended"
