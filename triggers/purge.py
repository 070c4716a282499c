"""The purge: on a schedule, delete what is kept about fleets that ended long ago.

Of a fleet only its row stays (`fleet.store.fleets`). Trials and results are the users' own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.api import instance_status
from fleet.api.instance_status import ALIVE, order_in
from fleet.azure import credentials
from fleet.model import names
from fleet.secrets import SealBroken
from fleet.settings import Settings, SettingsError
from fleet.store import fleets, vm_records
from fleet.store.database import DatabaseUnreachable
from triggers.durable_client import TaskHubUnavailable, find, task_hub

bp = df.Blueprint()

# Read here and not as %FLEET_PURGE_SCHEDULE% in the binding, which cannot have a default.
SCHEDULE = os.environ.get("FLEET_PURGE_SCHEDULE") or "0 30 * * * *"

AT_ONCE = 20
"""Fleets that are read from the table at a time."""
PATIENCE = 120.0
"""Seconds after which a run begins no other fleet: the next run continues."""


@bp.function_name("purge")
@bp.timer_trigger(arg_name="timer", schedule=SCHEDULE, use_monitor=True)
@bp.durable_client_input(client_name="client")
async def purge(timer: func.TimerRequest, client: Any) -> None:
    """Purge fleets that ended more than FLEET_RETENTION_DAYS ago. Raises SettingsError."""
    settings = Settings.read()
    with telemetry.activity("purge", {}):
        try:
            await asyncio.to_thread(fleets.forget_unstarted, settings.database_uri)
            purged = [batch_id async for batch_id in _purged(client, settings)]
        except Exception as error:
            telemetry.unexpected(error)
            return
    if purged:
        extra = {"event": "fleets.purged"}
        telemetry.LOG.info("Purged %d fleets", len(purged), extra=extra)


async def _purged(client: Any, settings: Settings) -> AsyncIterator[int]:
    """Purge the oldest fleets, one after the other; yields their batch ids.

    A row is marked last: what is left of a fleet after a crash is purged by the next run.
    """
    until = time.monotonic() + PATIENCE
    uri, skipped = settings.database_uri, 0
    while found := await asyncio.to_thread(
        fleets.to_purge, uri, settings.retention_days, AT_ONCE, skipped
    ):
        for row in found:
            if time.monotonic() > until:
                return
            try:
                purged = await _purge_fleet(client, row.batch_id, _is_long_ago(row, settings))
            except (TaskHubUnavailable, DatabaseUnreachable, SettingsError) as error:
                text, extra = "fleet-%d is not purged yet: %s", {"event": "fleet.unpurged"}
                telemetry.LOG.warning(text, row.batch_id, error, extra=extra)
                purged = False
            if purged:
                await asyncio.to_thread(fleets.mark_purged, uri, row.batch_id)
                yield row.batch_id
            else:
                skipped += 1


def _is_long_ago(row: fleets.Row, settings: Settings) -> bool:
    ended = row.ended_at or datetime.now(UTC)
    return datetime.now(UTC) - ended > timedelta(days=2 * settings.retention_days)


async def _purge_fleet(client: Any, batch_id: int, without_database: bool) -> bool:
    """Delete all but the row of a fleet. False while something of it is running.

    `without_database`: a database that does not answer keeps nothing else from being purged.

    Raises TaskHubUnavailable, DatabaseUnreachable, SettingsError.
    """
    instance = await find(client, names.instance_id(batch_id))
    teardown = await find(client, names.teardown_id(batch_id))
    if any(one and one["runtimeStatus"] in ALIVE for one in (instance, teardown)):
        return False
    if instance is not None:
        try:
            await _purge_records(instance)
        except DatabaseUnreachable:
            if not without_database:
                raise
    # The fleet's own instance last: it alone knows the database with the VM records.
    with task_hub():
        while waves := await client.get_status_by(instance_id_prefix=names.wave_prefix(batch_id)):
            for wave in waves:
                await client.purge_instance_history(wave.instance_id)
        for one in (names.cancel_id, names.teardown_id, names.instance_id):
            await client.purge_instance_history(one(batch_id))
    return True


async def _purge_records(instance: Mapping[str, Any]) -> None:
    """Raises DatabaseUnreachable, SettingsError."""
    order: Any = order_in(instance["input"])
    try:
        _, uri = credentials.open_connections(order)
    except SealBroken:
        return  # without its key nobody can reach its database any more
    begun: Any = {
        **order,
        "created_at": instance_status.fleet_from_instance(instance)["created_at"],
    }
    await asyncio.to_thread(vm_records.purge, uri, begun)
