"""The purge: deletes the records of fleets after their retention period, on a schedule.

Only the fleet's row remains (`fleet.store.fleets`). Trials and results belong to the users and are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.api.instance_status import ALIVE, started_order
from fleet.azure import credentials
from fleet.model import names
from fleet.secrets import SealBroken
from fleet.settings import Settings
from fleet.store import claims, fleets, vm_records
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import ACTIVITIES
from triggers.durable_client import TaskHubUnavailable, find, task_hub

bp = df.Blueprint()

# Not as %FLEET_PURGE_SCHEDULE% in the binding, which cannot have a default.
SCHEDULE = os.environ.get("FLEET_PURGE_SCHEDULE") or "0 30 * * * *"

PAGE_SIZE = 20
RUN_TIMEOUT = 120.0
"""Seconds after which a run starts to purge no further fleet; the next run continues."""


@dataclass
class Run:
    """One purge."""

    client: Any
    settings: Settings
    until: float
    """Monotonic time after which it starts to purge no further fleet."""
    skipped: int = 0
    """Number of fleets that it could not purge."""
    unreachable: set[str] = field(default_factory=set)
    """URIs of databases that it does not retry."""


@bp.timer_trigger(arg_name="timer", schedule=SCHEDULE, use_monitor=True)
@bp.durable_client_input(client_name="client")
async def purge(timer: func.TimerRequest, client: Any) -> None:
    """Purge fleets that ended more than FLEET_RETENTION_DAYS ago. Raises SettingsError."""
    run = Run(client, Settings.read(), time.monotonic() + RUN_TIMEOUT)
    with telemetry.activity("purge", {}):
        try:
            await _resolve_claims(run)
            purged = [batch_id async for batch_id in _purged(run)]
        except (TaskHubUnavailable, DatabaseUnreachable) as error:
            extra = {"event": "fleet.unpurged"}
            telemetry.LOG.warning("The purge stopped: %s", error, extra=extra)
            return
    if purged:
        extra = {"event": "fleets.purged"}
        telemetry.LOG.info("Purged %d fleets", len(purged), extra=extra)


async def _resolve_claims(run: Run) -> None:
    """Delete old claims whose fleet was never started. Mark the others as started: the host crashed
    before recording the start."""
    uri = run.settings.database_uri
    for batch_id in await ACTIVITIES.run(claims.abandoned, uri, run.settings.owner):
        if await find(run.client, names.instance_id(batch_id)) is None:
            await ACTIVITIES.run(claims.delete, uri, batch_id)
        else:
            await ACTIVITIES.run(fleets.update, uri, batch_id, {"phase": "plan"})


async def _purged(run: Run) -> AsyncIterator[int]:
    """Purge the oldest fleets, one after the other; yields their batch IDs.

    A row is marked last, so that the next run continues after a crash.
    """
    settings = run.settings
    uri, days = settings.database_uri, settings.retention_days
    while found := await ACTIVITIES.run(
        fleets.to_purge, uri, settings.owner, days, PAGE_SIZE, run.skipped
    ):
        for row in found:
            if time.monotonic() > run.until:
                return
            try:
                purged = await _purge_fleet(run, row)
            except (TaskHubUnavailable, DatabaseUnreachable) as error:
                text, extra = "fleet-%d is not purged yet: %s", {"event": "fleet.unpurged"}
                telemetry.LOG.warning(text, row.batch_id, error, extra=extra)
                purged = False
            if purged:
                await ACTIVITIES.run(fleets.mark_purged, uri, row.batch_id)
                yield row.batch_id
            else:
                run.skipped += 1


async def _purge_fleet(run: Run, row: fleets.Row) -> bool:
    """Delete all but the row of a fleet. Returns False if one of its instances is running.

    Raises TaskHubUnavailable, DatabaseUnreachable.
    """
    client, batch_id = run.client, row.batch_id
    instance = await find(client, names.instance_id(batch_id))
    teardown = await find(client, names.teardown_id(batch_id))
    if any(one and one["runtimeStatus"] in ALIVE for one in (instance, teardown)):
        return False
    if instance is not None:
        try:
            await _purge_records(run, instance)
        except DatabaseUnreachable:
            if not _is_long_ago(row, run.settings):
                raise
    # The fleet's own instance last, because only its input contains the database with the VM records.
    with task_hub():
        while waves := await client.get_status_by(instance_id_prefix=names.wave_prefix(batch_id)):
            for wave in waves:
                await client.purge_instance_history(wave.instance_id)
        for one in (names.cancel_id, names.teardown_id, names.instance_id):
            await client.purge_instance_history(one(batch_id))
    return True


def _is_long_ago(row: fleets.Row, settings: Settings) -> bool:
    """Whether the fleet is purged even if its database is unreachable."""
    ended = row.ended_at or datetime.now(UTC)
    return datetime.now(UTC) - ended > timedelta(days=2 * settings.retention_days)


async def _purge_records(run: Run, instance: Mapping[str, Any]) -> None:
    """Raises DatabaseUnreachable."""
    order = started_order(instance)
    try:
        _, uri = credentials.open_connections(order)
    except SealBroken:
        return  # no key can decrypt the URI of its database any more
    if uri in run.unreachable:
        raise DatabaseUnreachable("Its database was unreachable for another fleet.")
    try:
        await ACTIVITIES.run(vm_records.purge, uri, order)
    except DatabaseUnreachable:
        run.unreachable.add(uri)
        raise
