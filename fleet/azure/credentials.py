"""Connections to Azure: credentials, cached clients, and the decryption of an order's secrets."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

from fleet.azure.client import Azure
from fleet.azure.transport import AzureTransport
from fleet.model.order_parts import Account, FleetRef
from fleet.secrets import Seal
from fleet.settings import Settings

_PUBLIC_AUTHORITIES = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.chinacloudapi.cn",
)
MAX_CONNECTIONS = 32
"""Of one process; a client takes 0.15 MB and up to four sockets."""


def open_connections(order: FleetRef) -> tuple[Azure, str]:
    """The Azure client and the database URI of an order. Raises SealBroken, SettingsError."""
    settings = Settings.read()
    seal = Seal(settings.sealing_keys)
    secrets = seal.decrypt(order["sealed"], order["owner"], order["batch_id"])
    connection = connect(order, settings, secrets.get("client_secret"))
    return connection, secrets.get("uri") or settings.database_uri


def own_account(settings: Settings) -> Azure | None:
    """The client for the resource group in the settings, with the app's own identity; None if unset."""
    if not settings.subscription_id or not settings.resource_group:
        return None
    account: Account = {
        "subscription_id": settings.subscription_id,
        "resource_group": settings.resource_group,
        "tenant_id": None,
        "client_id": None,
    }
    return connect(account, settings, None)


def connect(account: Account, settings: Settings, client_secret: str | None) -> Azure:
    """The process's client for an account, cached so that calls share tokens and sockets.

    The MAX_CONNECTIONS clients used last are kept. Any other is closed as soon as nothing refers to it,
    which an operation does until it ends.
    """
    return _connect(
        settings.resource_manager_endpoint,
        settings.authority,
        account["subscription_id"],
        account["resource_group"],
        account["tenant_id"] or "",
        account["client_id"] or "",
        client_secret or "",
    )


@lru_cache(maxsize=MAX_CONNECTIONS)
def _connect(
    endpoint: str,
    authority: str | None,
    subscription_id: str,
    resource_group: str,
    tenant_id: str,
    client_id: str,
    client_secret: str,
) -> Azure:
    credential = _credential(authority, tenant_id, client_id, client_secret)
    return Azure(credential, endpoint, subscription_id, resource_group, _drop_rejected_token)


def _drop_rejected_token(response: Any) -> None:
    """Forget all clients when Azure rejects a token, so that the next call requests a new one.

    A response hook covers every process; on Flex Consumption, HTTP functions have their own.
    """
    if response.http_response.status_code == 401:  # the body may be unread
        _connect.cache_clear()


def _credential(
    authority: str | None, tenant_id: str, client_id: str, client_secret: str
) -> AsyncTokenCredential:
    options = {**identity_options(authority), "transport": AzureTransport()}
    if client_secret:
        if authority:
            options["authority"] = authority
        return ClientSecretCredential(tenant_id, client_id, client_secret, **options)
    return DefaultAzureCredential(**options)


def identity_options(authority: str | None) -> dict[str, Any]:
    """Arguments of credentials: instance discovery fails for authorities that Azure does not know."""
    if authority and not any(host in authority for host in _PUBLIC_AUTHORITIES):
        return {"disable_instance_discovery": True}
    return {}
