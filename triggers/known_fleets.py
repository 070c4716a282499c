"""The accounts of all fleets, and the status of each, from the table of fleets and the task hub."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet import telemetry
from fleet.api import instance_status
from fleet.api.instance_status import ALIVE, order_in
from fleet.azure import credentials
from fleet.azure.client import Azure
from fleet.azure.error_classifier import describe
from fleet.azure.sweep import BatchStatus
from fleet.model import names
from fleet.secrets import SealBroken
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.executors import ACTIVITIES
from triggers import durable_client

SOURCE_PATIENCE = 20.0
"""Timeout in seconds for each source that the sweep can work without."""
AT_ONCE = 10
LOST_AFTER = timedelta(hours=1)
"""A fleet that has no instance this long after its start is lost."""


async def accounts(client: Any, settings: Settings) -> dict[Azure, set[str]]:
    """The app's own account and that of each fleet not purged yet, with their resource_uris."""
    own = credentials.own_account(settings)
    known: dict[Azure, set[str]] = {own: set()} if own else {}
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            used = await ACTIVITIES.run(fleets.accounts, settings.database_uri, settings.owner)
            for batch_id, uris in used:
                await _add_account(client, known, names.instance_id(batch_id), uris)
    except Exception as error:
        warn(
            "The sweep cannot read the fleets' accounts: it skips the accounts not yet read", error
        )
    return known


async def _add_account(
    client: Any, known: dict[Azure, set[str]], instance: str, uris: list[str]
) -> None:
    try:
        found = await durable_client.find(client, instance)
        if found is not None:
            order: Any = order_in(found["input"])
            connection, _ = credentials.open_connections(order)
            known.setdefault(connection, set()).update(uris)
    except SealBroken:
        pass  # its credentials cannot be decrypted any more; its VMs delete themselves at the deadline
    except Exception as error:
        warn(f"The sweep cannot open the account of {instance}", error)


async def close_ended(client: Any, settings: Settings) -> None:
    """Mark fleets as ended in the table if their orchestrator could not: the database was unavailable,
    or the instance was terminated or lost."""
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            active = await ACTIVITIES.run(fleets.active, settings.database_uri, settings.owner)
            telemetry.fleets_counted(len(active))
            for row in active:
                await _close_if_ended(client, settings.database_uri, row)
    except Exception as error:
        warn("The sweep cannot compare the table of fleets with the task hub", error)


async def _close_if_ended(client: Any, uri: str, row: fleets.Row) -> None:
    instance = await durable_client.find(client, names.instance_id(row.batch_id))
    now = datetime.now(UTC)
    if instance is None:
        if now - row.started_at < LOST_AFTER:
            return
        changes: dict[str, Any] = {"phase": "failed", "ended_at": now}
    elif instance["runtimeStatus"] in ALIVE:
        return
    else:
        fleet = instance_status.fleet_from_instance(instance)
        changes = {name: fleet[name] for name in ("phase", "machines", "trials")}
        changes["ended_at"] = fleet["updated_at"]
    await ACTIVITIES.run(fleets.update, uri, row.batch_id, changes)


async def ask_fates(client: Any, fates: dict[int, BatchStatus], batches: list[int]) -> None:
    """Add the status of each batch to `fates`, except those that cannot be read."""
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            for start in range(0, len(batches), AT_ONCE):
                await asyncio.gather(
                    *(_ask_for(client, fates, batch) for batch in batches[start : start + AT_ONCE])
                )
    except TimeoutError as error:
        warn(
            "The sweep cannot read the status of every fleet: it uses the deadlines of the others",
            error,
        )


async def _ask_for(client: Any, fates: dict[int, BatchStatus], batch: int) -> None:
    try:
        fates[batch] = await _fate(client, names.instance_id(batch))
    except Exception as error:
        warn(f"The sweep cannot read the status of batch {batch}: it uses its deadline", error)


async def _fate(client: Any, instance: str) -> BatchStatus:
    status = await durable_client.find(client, instance)
    if status is None:
        return "unknown"
    if status["runtimeStatus"] in ALIVE:
        return "alive"
    return "done" if (status.get("customStatus") or {}).get("phase") == "done" else "ended"


def warn(what: str, error: Exception) -> None:
    telemetry.failed(describe(error), what, event="sweep.failed")
