"""Cancels a running fleet by a durable mark and an event; tears down what an ended fleet has left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fleet import telemetry
from fleet.api.instance_status import ALIVE, order_in
from fleet.azure.credentials import open_connections
from fleet.model import names
from fleet.model.activities import Teardown
from fleet.model.order_parts import TeardownOrder, part_of
from fleet.settings import Settings
from fleet.store import claims, fleets
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import OWN
from triggers.durable_client import (
    MARK_CANCELLED,
    TEARDOWN_FLEET,
    find,
    is_alive,
    start_unless_running,
    task_hub_within,
)
from triggers.lease import START_TIMEOUT, lease


async def cancel(client: Any, instance: str) -> bool:
    """Cancel a fleet, or tear down what an ended one has left. False if the fleet does not exist.

    Raises SealBroken if the secrets of an ended fleet cannot be decrypted: its teardown could not list
    anything, and would retry for half an hour.
    """
    status = await find(client, instance)
    if status is None:
        return False
    order: Any = order_in(status["input"])
    if status["runtimeStatus"] not in ALIVE:
        open_connections(order)
    telemetry.LOG.info("Cancelled", extra={"event": "fleet.cancelled", "fleet": instance})
    async with _with_lease(order["batch_id"]), task_hub_within(START_TIMEOUT):
        if status["runtimeStatus"] in ALIVE:
            # The mark first: the fleet reads it even if the event is lost.
            mark = names.cancel_id(order["batch_id"])
            await start_unless_running(client, MARK_CANCELLED, mark, {})
            if await _raise_cancel(client, instance):
                return True
        task: Teardown = {"order": part_of(order, TeardownOrder), "keep_machines": False}
        teardown = names.teardown_id(order["batch_id"])
        await start_unless_running(client, TEARDOWN_FLEET, teardown, task)
    await _release_vm_limit(order["batch_id"])
    return True


async def _release_vm_limit(batch_id: int) -> None:
    """Count the VMs that the fleet had left as deleted, so that other fleets can use the limit."""
    try:
        await OWN.run(fleets.mark_vms_deleted, Settings.read().database_uri, batch_id)
    except DatabaseUnreachable as error:
        text = "The VMs of a cancelled fleet count until its deadline: %s"
        telemetry.LOG.warning(text, error, extra={"event": "fleet.cancelled"})


@asynccontextmanager
async def _with_lease(batch_id: int) -> AsyncIterator[None]:
    """Hold the fleet's lease, so that concurrent requests start only one teardown.

    Without the database, the fleet is cancelled without a lease: VMs cost money, and a teardown that
    replaces another one continues its work.
    """
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(lease(Settings.read().database_uri, batch_id))
        except (DatabaseUnreachable, claims.LeaseHeld) as error:
            text, extra = "Cancelled without its lease: %s", {"event": "fleet.cancelled"}
            telemetry.LOG.warning(text, error, extra=extra)
        yield


async def _raise_cancel(client: Any, instance: str) -> bool:
    """Raise the cancel event. False if the fleet has ended in the meantime."""
    try:
        await client.raise_event(instance, names.CANCEL_EVENT, {})
    except Exception:
        if await is_alive(client, instance):
            raise
        return False
    return True
