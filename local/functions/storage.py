"""Storage accounts, found by a binding's `connection` as the WebJobs SDK finds them.

A connection is either a setting with a connection string, or a group of settings for an identity:
`NAME__queueServiceUri` or `NAME__accountName`, and optionally `__credential`, `__clientId`, `__tenantId`
and `__clientSecret` (azure-sdk-for-net: StorageClientProvider, ClientFactory).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue.aio import QueueClient

from local.functions.settings import SettingsError, development_storage

_DEV_STORAGE = "UseDevelopmentStorage=true"


@dataclass(frozen=True)
class Account:
    """A storage account: a connection string, or the URL of its queues and an identity's settings."""

    connection_string: str = field(default="", repr=False)
    url: str = ""
    identity: Mapping[str, str] = field(default_factory=dict, repr=False)

    def credential(self, library: Any) -> Any:
        """The credential of `library`: azure.identity or azure.identity.aio."""
        one = self.identity
        if one.get("credential") == "managedidentity":
            return library.ManagedIdentityCredential(client_id=one.get("clientId"))
        # Instance discovery fails for authorities that the public cloud does not know.
        options: dict[str, Any] = {"disable_instance_discovery": "authority" in one}
        if {"tenantId", "clientId", "clientSecret"} <= one.keys():
            secret = one["tenantId"], one["clientId"], one["clientSecret"]
            return library.ClientSecretCredential(*secret, **options)
        if "clientId" in one:
            options["managed_identity_client_id"] = one["clientId"]
        return library.DefaultAzureCredential(**options)


class Storage:
    """The accounts of an app's settings. Keeps a credential for each."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._credentials: dict[str, Any] = {}

    def queue(self, connection: str, name: str, **options: Any) -> QueueClient:
        """A client for a queue. Raises SettingsError if the connection is missing or invalid."""
        account = find_account(connection, self._environment)
        if account is None:
            raise SettingsError(f"the connection {connection} is not set")
        if account.url:
            if connection not in self._credentials:
                from azure.identity import aio as identity  # half a second, for few apps

                self._credentials[connection] = account.credential(identity)
            return QueueClient(account.url, name, self._credentials[connection], **options)
        try:
            return QueueClient.from_connection_string(account.connection_string, name, **options)
        except ValueError:  # its text may contain the account's key
            raise SettingsError(f"the value of {connection} is not a connection string") from None

    async def close(self) -> None:
        """Close the credentials. Clients are closed by their users."""
        for credential in self._credentials.values():
            await credential.close()


def connection_of(binding: Mapping[str, Any]) -> str:
    """The name of a binding's connection."""
    return str(binding.get("connection") or "AzureWebJobsStorage")


async def send(queue: QueueClient, text: str) -> None:
    """Send a message. Creates the queue if necessary."""
    try:
        await queue.send_message(text)
    except ResourceNotFoundError:
        with suppress(ResourceExistsError):  # created concurrently
            await queue.create_queue()
        await queue.send_message(text)


def find_account(connection: str, environment: Mapping[str, str]) -> Account | None:
    """The account of a binding's `connection`, or None if it is not set.

    As in the WebJobs SDK, `AzureWebJobs{connection}` precedes `{connection}`, and a connection string
    precedes an identity.
    """
    for name in (f"AzureWebJobs{connection}", connection):
        if value := environment.get(name):
            is_emulator = value.strip().rstrip(";").lower() == _DEV_STORAGE.lower()
            return Account(development_storage() if is_emulator else value)
        group = {
            key.removeprefix(f"{name}__"): value
            for key, value in environment.items()
            if key.startswith(f"{name}__") and value
        }
        url = group.get("queueServiceUri")
        if "accountName" in group:
            url = f"https://{group['accountName']}.queue.core.windows.net"
        if url:
            authority = environment.get("AZURE_AUTHORITY_HOST")
            return Account(
                url=url, identity=group | ({"authority": authority} if authority else {})
            )
    return None
