"""Cancelling a fleet: a durable mark and an event, or a teardown of what a finished one has left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fleet import telemetry
from fleet.api.instance_status import ALIVE, order_in
from fleet.azure.credentials import open_connections
from fleet.model import names
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

    Raises SealBroken for an ended fleet whose secrets cannot be decrypted: its teardown could not list
    anything, and would try for half an hour.
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
            # First the mark: the fleet finds it even if the event is lost.
            mark = names.cancel_id(order["batch_id"])
            await start_unless_running(client, MARK_CANCELLED, mark, {})
            if await _raise_cancel(client, instance):
                return True
        task = {"order": order, "keep_machines": False}
        teardown = names.teardown_id(order["batch_id"])
        await start_unless_running(client, TEARDOWN_FLEET, teardown, task)
    await _free_room(order["batch_id"])
    return True


async def _free_room(batch_id: int) -> None:
    """Let other fleets have the VMs that this one had left in place."""
    try:
        await OWN.run(fleets.mark_vms_deleted, Settings.read().database_uri, batch_id)
    except DatabaseUnreachable as error:
        text = "The VMs of a cancelled fleet count until its deadline: %s"
        telemetry.LOG.warning(text, error, extra={"event": "fleet.cancelled"})


@asynccontextmanager
async def _with_lease(batch_id: int) -> AsyncIterator[None]:
    """Hold the fleet's lease, so that two requests at once start one teardown.

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
