"""Marks fleets as ended in the table of fleets if their orchestrator could not do so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet import telemetry
from fleet.api import instance_status, progress
from fleet.api.instance_status import ALIVE, order_in, started_order
from fleet.api.responses.fleets import FleetWithoutLinks
from fleet.azure.credentials import open_connections
from fleet.model import costs, names
from fleet.secrets import SealBroken
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.executors import ACTIVITIES
from triggers import durable_client
from triggers.http.queries import machines_of
from triggers.sweep.sources import log_failure, optional_source

LOST_AFTER = timedelta(hours=1)
"""A fleet without an instance this long after its start is lost."""


async def mark_ended_fleets(client: Any, settings: Settings) -> None:
    """Mark the fleets whose end is missing in the table: the database was unavailable, or the instance
    was terminated or lost.

    A terminated fleet is marked once its VMs no longer exist: then it is known what they have cost.
    """
    async with optional_source("The sweep cannot compare the table of fleets with the task hub"):
        active = await ACTIVITIES.run(fleets.active, settings.database_uri, settings.owner)
        telemetry.fleets_counted(len(active))
        for row in active:
            await _mark_if_ended(client, settings.database_uri, row)


async def _mark_if_ended(client: Any, uri: str, row: fleets.Row) -> None:
    instance = await durable_client.find(client, names.instance_id(row.batch_id))
    now = datetime.now(UTC)
    changes: fleets.Changes
    if instance is None:
        if now - row.started_at < LOST_AFTER:
            return
        changes = {"phase": "failed", "ended_at": now}
    elif instance["runtimeStatus"] in ALIVE:
        return
    else:
        fleet = instance_status.fleet_from_instance(instance)
        completed = instance["runtimeStatus"] == "Completed"
        has_vms = None if completed else await _has_vms(instance, fleet, now)
        if has_vms:
            return
        changes = {
            "phase": fleet["phase"],
            "machines": fleet["machines"],
            "trials": fleet["trials"],
            "reason": fleet["reason"],
            "ended_at": fleet["updated_at"],
        }
        if completed:
            until = datetime.fromisoformat(fleet["updated_at"])
            changes["cost"] = await _cost(instance, fleet, until)
        elif has_vms is False:
            changes["machines"] = instance_status.without_vms(fleet["machines"])
            changes["cost"] = await _cost(instance, fleet, now)
    await ACTIVITIES.run(fleets.update, uri, row.batch_id, changes)


async def _has_vms(
    instance: Mapping[str, Any], fleet: FleetWithoutLinks, now: datetime
) -> bool | None:
    """Whether VMs of the fleet exist, which the sweep deletes. None if that stays unknown: no key can
    decrypt its credentials any more, or its deadline has passed.
    """
    order: Any = order_in(instance["input"])
    deadline = fleet["deadline"]
    try:
        connection, _ = open_connections(order)
        found = bool(await connection.list_batch("machine", order["batch_id"]))
    except SealBroken:
        return None
    except Exception as error:
        log_failure(f"The sweep cannot list the VMs of {fleet['id']}", error)
        found = True
    has_passed = deadline is not None and now >= datetime.fromisoformat(deadline)
    return None if found and has_passed else found


async def _cost(
    instance: Mapping[str, Any], fleet: FleetWithoutLinks, until: datetime
) -> float | None:
    """At most what the fleet's VMs have cost; None if a VM or a price may be unknown: the fleet then
    counts with what it has reserved.
    """
    order, counts = started_order(instance), fleet["machines"]
    found = await machines_of(instance)
    if counts["pending"] or sum(bool(one["created_at"]) for one in found) < counts["accepted"]:
        return None
    hours = costs.vm_hours(found, until)
    prices = progress.known_prices(order, hours, Settings.read().prices)
    spent = costs.spending(hours, prices)
    return spent and costs.dollars(spent.so_far)
