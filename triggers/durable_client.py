"""Wraps the Durable client: distinguishes an error from a missing instance, and decodes inputs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fleet.api.instance_status import ALIVE
from fleet.store.database import DatabaseUnreachable

RUN_FLEET = "run_fleet"
TEARDOWN_FLEET = "teardown_fleet"
MARK_CANCELLED = "mark_cancelled"


class TaskHubUnavailable(RuntimeError):
    """The task hub could not be read or written. Transient: the caller may retry."""


async def find(client: Any, instance: str) -> dict[str, Any] | None:
    """An instance's status as JSON, or None.

    Raises TaskHubUnavailable. The SDK's `get_status` returns the same for an unreadable task hub as for
    a missing instance, so a second call checks that result.
    """
    with task_hub():
        status = await client.get_status(instance)
        listed = [] if status else await client.get_status_by(instance_id_prefix=instance)
    if status:
        return as_json(status)
    return next((as_json(found) for found in listed if found.instance_id == instance), None)


def as_json(status: Any) -> dict[str, Any]:
    """A `DurableOrchestrationStatus` as JSON. Its input may be a string that contains JSON."""
    document: dict[str, Any] = status.to_json()
    if isinstance(document.get("input"), str):
        document["input"] = json.loads(document["input"])
    return document


async def start_unless_running(
    client: Any, orchestrator: str, instance: str, task: Mapping[str, Any]
) -> None:
    """Start an instance, unless one with this ID is running. The caller holds the fleet's lease."""
    if not await is_alive(client, instance):
        with task_hub():
            await client.start_new(orchestrator, instance, task)


async def is_alive(client: Any, instance: str) -> bool:
    status = await find(client, instance)
    return status is not None and status["runtimeStatus"] in ALIVE


@contextmanager
def task_hub() -> Iterator[None]:
    """Convert the SDK's exceptions, mostly a bare Exception, to TaskHubUnavailable.

    Not those of a database that is used meanwhile.

    The original is the cause. Its text is omitted, because it may contain the host's internal URLs.
    """
    try:
        yield
    except (TaskHubUnavailable, DatabaseUnreachable):
        raise
    except Exception as error:
        raise TaskHubUnavailable(
            f"The task hub does not respond ({type(error).__name__}). If this persists, check the "
            "storage account (AzureWebJobsStorage) and TASKHUB_NAME."
        ) from error


@asynccontextmanager
async def task_hub_within(seconds: float) -> AsyncIterator[None]:
    """As `task_hub`, with a timeout, because the SDK waits for up to 240 s."""
    with task_hub():
        async with asyncio.timeout(seconds):
            yield
