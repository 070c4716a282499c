"""Marks fleets as ended in the table of fleets if their orchestrator could not do so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fleet import telemetry
from fleet.api import instance_status
from fleet.api.instance_status import ALIVE
from fleet.model import names
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.executors import ACTIVITIES
from triggers import durable_client
from triggers.sweep.sources import optional_source

LOST_AFTER = timedelta(hours=1)
"""A fleet without an instance this long after its start is lost."""


async def mark_ended_fleets(client: Any, settings: Settings) -> None:
    """Mark the fleets whose end is missing in the table: the database was unavailable, or the instance
    was terminated or lost."""
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
        changes = {
            "phase": fleet["phase"],
            "machines": fleet["machines"],
            "trials": fleet["trials"],
            "reason": fleet["reason"],
            "ended_at": fleet["updated_at"],
        }
    await ACTIVITIES.run(fleets.update, uri, row.batch_id, changes)
