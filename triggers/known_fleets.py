"""What the task hub knows of fleets: which accounts they are in, and whether they still run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fleet import telemetry
from fleet.api.instance_status import ALIVE, order_in
from fleet.azure import credentials
from fleet.azure.client import Azure
from fleet.azure.error_classifier import describe
from fleet.azure.sweep import BatchStatus
from fleet.model import names
from fleet.settings import Settings
from triggers import durable_client

SOURCE_PATIENCE = 20.0
"""Seconds for each thing that the sweep can do without: what hangs must not take the others' time."""
AT_ONCE = 10
PAGE = 100
"""Instances that the durable client gets for one question; it cannot ask for the second page."""


async def accounts(client: Any, settings: Settings) -> dict[Azure, set[str]]:
    """The app's own account and that of each fleet in the task hub, with the fleets' resource_uris."""
    own = credentials.own_account(settings)
    known: dict[Azure, set[str]] = {own: set()} if own else {}
    active = 0
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            async for instance in _fleets(client, names.FLEET_PREFIX):
                _add_account(known, instance)
                active += instance["runtimeStatus"] in ALIVE
        telemetry.fleets_counted(active)
    except Exception as error:
        warn("The sweep cannot ask which fleets there are: it goes by deadlines alone", error)
    return known


def _add_account(known: dict[Azure, set[str]], instance: dict[str, Any]) -> None:
    order: Any = order_in(instance["input"])
    try:
        connection, _ = credentials.open_connections(order)
    except Exception as error:
        warn(f"The sweep cannot open the account of {instance['instanceId']}", error)
    else:
        known.setdefault(connection, set()).update(order["resource_uris"])


async def _fleets(client: Any, prefix: str) -> AsyncIterator[dict[str, Any]]:
    """Every fleet in the task hub, page by page: a prefix that fills a page is made longer."""
    page = await client.get_status_by(instance_id_prefix=prefix)
    full = len(page) >= PAGE
    for one in map(durable_client.as_json, page):
        is_fleet = names.batch_of(one["instanceId"]) is not None
        if is_fleet and (not full or one["instanceId"] == prefix):
            yield one
    for digit in "0123456789" if full else "":
        async for deeper in _fleets(client, prefix + digit):
            yield deeper


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
