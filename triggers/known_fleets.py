"""What is known of fleets: the accounts that they are in, and which have ended."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from fleet import telemetry
from fleet.api import instance_status
from fleet.api.instance_status import ALIVE, order_in
from fleet.azure import credentials
from fleet.azure.client import Azure
from fleet.azure.error_classifier import describe
from fleet.azure.sweep import BatchStatus
from fleet.model import names
from fleet.settings import Settings
from fleet.store import fleets
from triggers import durable_client

SOURCE_PATIENCE = 20.0
"""Seconds for each source that the sweep can do without."""
AT_ONCE = 10


async def accounts(client: Any, settings: Settings) -> dict[Azure, set[str]]:
    """The app's own account and that of each fleet not purged yet, with their resource_uris."""
    own = credentials.own_account(settings)
    known: dict[Azure, set[str]] = {own: set()} if own else {}
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            used = await asyncio.to_thread(fleets.accounts, settings.database_uri)
            for batch_id, uris in used:
                await _add_account(client, known, names.instance_id(batch_id), uris)
    except Exception as error:
        warn(
            "The sweep cannot read the fleets' accounts: it skips those that it has not read", error
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
    except Exception as error:
        warn(f"The sweep cannot open the account of {instance}", error)


async def close_ended(client: Any, settings: Settings) -> None:
    """Note the end of fleets whose own note was lost: the database was away, or they were terminated."""
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            active = await asyncio.to_thread(fleets.active, settings.database_uri)
            telemetry.fleets_counted(len(active))
            for batch_id in active:
                await _close_if_ended(client, settings.database_uri, batch_id)
    except Exception as error:
        warn("The sweep cannot compare the table of fleets with the task hub", error)


async def _close_if_ended(client: Any, uri: str, batch_id: int) -> None:
    instance = await durable_client.find(client, names.instance_id(batch_id))
    if instance is None or instance["runtimeStatus"] in ALIVE:
        return
    fleet = instance_status.fleet_from_instance(instance)
    changes = {
        "phase": fleet["phase"],
        "machines": fleet["machines"],
        "trials": fleet["trials"],
        "ended_at": datetime.fromisoformat(fleet["updated_at"]),
    }
    await asyncio.to_thread(fleets.update, uri, batch_id, changes)


async def ask_fates(client: Any, fates: dict[int, BatchStatus], batches: list[int]) -> None:
    """Add the fates of batches to `fates`; those that cannot be had are left out."""
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            for start in range(0, len(batches), AT_ONCE):
                await asyncio.gather(
                    *(_ask_for(client, fates, batch) for batch in batches[start : start + AT_ONCE])
                )
    except TimeoutError as error:
        warn("The sweep cannot ask for every fleet: it goes by deadlines for the others", error)


async def _ask_for(client: Any, fates: dict[int, BatchStatus], batch: int) -> None:
    try:
        fates[batch] = await _fate(client, names.instance_id(batch))
    except Exception as error:
        warn(f"The sweep cannot ask for batch {batch}: it goes by its deadline", error)


async def _fate(client: Any, instance: str) -> BatchStatus:
    status = await durable_client.find(client, instance)
    if status is None:
        return "unknown"
    if status["runtimeStatus"] in ALIVE:
        return "alive"
    return "done" if (status.get("customStatus") or {}).get("phase") == "done" else "ended"


def warn(what: str, error: Exception) -> None:
    telemetry.failed(describe(error), what, event="sweep.failed")
