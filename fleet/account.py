"""Whose Azure a fleet works in: the one place that opens a seal."""

from __future__ import annotations

from fleet import azure
from fleet.records import Order
from fleet.secrets import Seal
from fleet.settings import Settings


def opened(order: Order) -> tuple[azure.Azure, str]:
    """Azure for this order's account, and the database's URI. Raises SealBroken, SettingsError."""
    settings = Settings.read()
    secrets = Seal(settings.sealing_keys).open(order["sealed"])
    connection = azure.connect(order, settings, secrets.get("client_secret"))
    return connection, secrets.get("uri") or settings.database_uri or ""


def own(settings: Settings) -> azure.Azure | None:
    """The resource group of the app's settings, by its own identity; None where they name none."""
    if not settings.subscription_id or not settings.resource_group:
        return None
    account: azure.Account = {
        "subscription_id": settings.subscription_id,
        "resource_group": settings.resource_group,
        "tenant_id": None,
        "client_id": None,
    }
    return azure.connect(account, settings, None)
