"""Entra tokens of the app's identity, which PostgreSQL on Azure accepts as passwords."""

from __future__ import annotations

import functools

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential

from fleet.azure.credentials import identity_options
from fleet.azure.error_classifier import describe
from fleet.model.database_uri import InvalidDatabaseUri, libpq_options
from fleet.settings import PUBLIC_CLOUD, Settings

_ENTRA = "https://ossrdbms-aad.database.{}/.default"
SCOPES = {
    PUBLIC_CLOUD: _ENTRA.format("windows.net"),
    "https://management.usgovcloudapi.net": _ENTRA.format("usgovcloudapi.net"),
    "https://management.chinacloudapi.cn": _ENTRA.format("chinacloudapi.cn"),
}
"""By the cloud's ARM endpoint; as in the Azure CLI (`ossrdbms_resource_id`)."""

_SERVERS = tuple(
    f".postgres.database.{domain}"
    for domain in ("azure.com", "usgovcloudapi.net", "chinacloudapi.cn")
)
TOKEN_TIMEOUT = 5
"""Seconds to connect to Entra, and to wait for its answer."""


class TokenRefused(Exception):
    """There is no token for a server. The message says why, without secrets."""


class TokenUnavailable(TokenRefused):
    """Entra, or the identity endpoint, issued no token."""


def token_for(host: str, port: str | None) -> str:
    """A token for a PostgreSQL server. azure-identity caches it until shortly before it expires.

    A server that gets a token can log in to every database that knows the app's identity. So only Azure
    Database for PostgreSQL gets one, which keeps none, and the server that the deployment itself names.
    Blocks. Raises TokenRefused, SettingsError.
    """
    settings = Settings.read()
    if not host.lower().endswith(_SERVERS) and (host, port) != _own_server(settings):
        raise TokenRefused(
            "The database URI has no password, and the app sends its identity's token only to Azure "
            "Database for PostgreSQL and to the server in POWERLIFT_DB_URI. Add a password to the URI."
        )
    scope = SCOPES.get(settings.resource_manager_endpoint, SCOPES[PUBLIC_CLOUD])
    try:
        return str(_identity(settings.authority).get_token(scope).token)
    except AzureError as error:
        raise TokenUnavailable(
            "The database URI has no password, and the app's identity got no Entra token for it: "
            f"{describe(error)['message']}"
        ) from None


@functools.lru_cache(maxsize=4)
def _identity(authority: str | None) -> DefaultAzureCredential:
    """Synchronous, because it is used in the threads of database operations. Never closed."""
    limits = {"connection_timeout": TOKEN_TIMEOUT, "read_timeout": TOKEN_TIMEOUT, "retry_total": 0}
    return DefaultAzureCredential(**identity_options(authority), **limits)


def _own_server(settings: Settings) -> tuple[str, str | None] | None:
    try:
        own = libpq_options(settings.database_uri)
    except InvalidDatabaseUri:
        return None
    return own["host"], own.get("port")
