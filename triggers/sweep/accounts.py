"""The Azure accounts in which the sweep looks for orphaned resources."""

from __future__ import annotations

from typing import Any

from fleet.api.instance_status import order_in
from fleet.azure import credentials
from fleet.azure.client import Azure
from fleet.model import names
from fleet.secrets import SealBroken
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.executors import ACTIVITIES
from triggers import durable_client
from triggers.sweep.sources import log_failure, optional_source


async def accounts(client: Any, settings: Settings) -> dict[Azure, set[str]]:
    """The app's own account and that of each unpurged fleet, with their resource_uris."""
    own = credentials.own_account(settings)
    found: dict[Azure, set[str]] = {own: set()} if own else {}
    async with optional_source(
        "The sweep cannot read the fleets' accounts: it skips the accounts not yet read"
    ):
        used = await ACTIVITIES.run(fleets.accounts, settings.database_uri, settings.owner)
        for batch_id, uris in used:
            await _add_account(client, found, names.instance_id(batch_id), uris)
    return found


async def _add_account(
    client: Any, found: dict[Azure, set[str]], instance_id: str, uris: list[str]
) -> None:
    try:
        instance = await durable_client.find(client, instance_id)
        if instance is not None:
            order: Any = order_in(instance["input"])
            connection, _ = credentials.open_connections(order)
            found.setdefault(connection, set()).update(uris)
    except SealBroken:
        pass  # no key can decrypt its credentials any more; its VMs delete themselves at the deadline
    except Exception as error:
        log_failure(f"The sweep cannot open the account of {instance_id}", error)
