"""Cancelling a fleet: a durable mark and an event, or a teardown of what a finished one has left."""

from __future__ import annotations

from typing import Any

from fleet import telemetry
from fleet.api.instance_status import ALIVE, order_in
from fleet.model import names
from triggers.durable_client import (
    MARK_CANCELLED,
    TEARDOWN_FLEET,
    find,
    is_alive,
    start_unless_running,
)


async def cancel(client: Any, instance: str) -> bool:
    """Cancel a fleet, or tear down what a finished one has left. False when there is no such fleet."""
    status = await find(client, instance)
    if status is None:
        return False
    order = order_in(status["input"])
    telemetry.LOG.info("Cancelled", extra={"event": "fleet.cancelled", "fleet": instance})
    if status["runtimeStatus"] in ALIVE:
        # The mark first: an event can be lost, and the fleet then looks for the mark.
        await start_unless_running(client, MARK_CANCELLED, names.cancel_id(order["batch_id"]), {})
        if await _raise_cancel(client, instance):
            return True
    task = {"order": order, "keep_machines": False}
    await start_unless_running(client, TEARDOWN_FLEET, names.teardown_id(order["batch_id"]), task)
    return True


async def _raise_cancel(client: Any, instance: str) -> bool:
    """Whether the fleet was there to hear it: it may have ended since we looked."""
    try:
        await client.raise_event(instance, names.CANCEL_EVENT, {})
    except Exception:
        if await is_alive(client, instance):
            raise
        return False
    return True
