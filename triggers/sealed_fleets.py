"""Whether the sealing keys decrypt the secrets of the running fleets."""

from __future__ import annotations

import asyncio
from typing import Any

from fleet.api.instance_status import order_in
from fleet.model import names
from fleet.secrets import Seal, SealBroken
from fleet.settings import Settings
from fleet.store import fleets, schema
from fleet.store.executors import OWN
from triggers.durable_client import find

CHECKED = 20
"""Fleets, the oldest: a key that was removed too early is theirs."""


async def undecryptable(client: Any, settings: Settings, seal: Seal) -> list[str]:
    """The running fleets of which no key decrypts the secrets, as `fleet-7`.

    Raises DatabaseUnreachable, SchemaTooNew, TaskHubUnavailable.
    """
    running = await OWN.run(_oldest, settings.database_uri, settings.owner)
    instances = [names.instance_id(row.batch_id) for row in running]
    found = await asyncio.gather(*(find(client, instance) for instance in instances))
    return [
        f"fleet-{row.number}"
        for row, status in zip(running, found, strict=True)
        if status is not None and not _decrypts(seal, status)
    ]


def _oldest(uri: str, owner: str) -> list[fleets.Row]:
    """None before the first fleet, which creates the table."""
    is_current = schema.version(uri, schema.APP) == schema.APP.latest
    return fleets.active(uri, owner)[:CHECKED] if is_current else []


def _decrypts(seal: Seal, status: dict[str, Any]) -> bool:
    order = order_in(status["input"])
    try:
        seal.decrypt(order["sealed"], order["owner"], order["batch_id"])
    except SealBroken:
        return False
    return True
