"""Powerlift's functions of `run/azure_vm.py`, for code that calls them directly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from powerlift_fleet.api.client import POLL_SECONDS, FleetClient
from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.benchmark.arguments import limit_or_none, texts_or_none


def run_azure_process(
    experiment_id: int,
    n_instances: int,
    uri: str | None,
    resource_uris: Sequence[str] | None,
    timeout: float | None,
    azure_json: Mapping[str, Any] | None,
    credential: object,
    location: str | None,
    vm_size: str,
    image_publisher: str,
    image_offer: str,
    image_sku: str,
    image_version: str,
    disk_type: str,
    max_undead: int,
    delete_on_complete: bool,
    batch_id: int | None,
) -> None:
    """Start a fleet; return when its VMs are running and have their roles, or the fleet has ended.

    The signature is that of `powerlift.run.azure_vm.run_azure_process`. FLEET_URL and FLEET_KEY name the
    app. `credential` must be None: an object cannot be sent. A second call with the same `batch_id`
    starts no second fleet. Numbers may be numpy's; an infinite `timeout` means no limit.

    Raises ConfigurationError, FleetFailed, FleetCancelled, FleetUnreachable, ApiError.
    """
    if credential is not None:
        raise ConfigurationError(
            "A credential object cannot be sent to the app. Pass None: the app then uses its own "
            "identity, or the client_secret in azure_json."
        )
    request = {
        "experiment_id": experiment_id,
        "n_instances": n_instances,
        "uri": uri,
        "resource_uris": texts_or_none("resource_uris", resource_uris) or [],
        "timeout": limit_or_none("timeout", timeout),
        "azure_json": {
            name: value for name, value in (azure_json or {}).items() if value is not None
        },
        "location": location,
        "vm_size": vm_size,
        "image_publisher": image_publisher,
        "image_offer": image_offer,
        "image_sku": image_sku,
        "image_version": image_version,
        "disk_type": disk_type,
        "max_undead": max_undead,
        "delete_on_complete": delete_on_complete,
        "batch_id": batch_id,
    }
    with FleetClient() as client:
        fleet = client.submit(request).id
        for status in client.watch(fleet, POLL_SECONDS):
            client.raise_unless_done(status)
            if status.provisioned_at is not None:
                return


def assign_contributor_permissions(*_: object, **__: object) -> NoReturn:
    """Exists so that it can be imported. Raises ConfigurationError, which says what replaces it."""
    raise ConfigurationError(
        "The app assigns the VMs' roles itself, in order of their creation: remove the call of "
        "assign_contributor_permissions. Pass further scopes as resource_uris, and another principal as "
        "AzureVMFleet's client_principal_id."
    )
