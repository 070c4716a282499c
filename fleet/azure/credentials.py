"""Whose Azure a fleet works in: the one place that opens a seal."""

from __future__ import annotations

from fleet.azure import client
from fleet.model.records import Order
from fleet.secrets import Seal
from fleet.settings import Settings


def open_connections(order: Order) -> tuple[client.Azure, str]:
    """Azure for this order's account, and the database's URI. Raises SealBroken, SettingsError."""
    settings = Settings.read()
    secrets = Seal(settings.sealing_keys).open(order["sealed"])
    connection = client.connect(order, settings, secrets.get("client_secret"))
    return connection, secrets.get("uri") or settings.database_uri


def own(settings: Settings) -> client.Azure | None:
    """The resource group of the app's settings, by its own identity; None where they name none."""
    if not settings.subscription_id or not settings.resource_group:
        return None
    account: client.Account = {
        "subscription_id": settings.subscription_id,
        "resource_group": settings.resource_group,
        "tenant_id": None,
        "client_id": None,
    }
    return client.connect(account, settings, None)
