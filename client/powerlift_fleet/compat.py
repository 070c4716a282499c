"""Powerlift's `run_azure_process`, for code that calls it by that name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from powerlift_fleet.api.client import INTERVAL, FleetClient
from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.flows import settled

LARGEST_BATCH = 2**63
"""Powerlift draws 64 bits for a batch id; the app takes 63."""


def run_azure_process(
    experiment_id: int,
    n_instances: int,
    uri: str | None,
    resource_uris: Sequence[str] | None,
    timeout: float | None,
    azure_json: Mapping[str, Any],
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
    """Make a fleet; returns when its VMs run and have their roles, or when all its work is done.

    The signature of `powerlift.run.azure_vm.run_azure_process`. The app is at FLEET_URL, its key in
    FLEET_KEY. `credential` must be None: an object cannot travel. Called again with the same
    `batch_id` it makes no second fleet.

    Raises ConfigurationError, FleetFailed, FleetCancelled, FleetUnreachable, ApiError.
    """
    if credential is not None:
        raise ConfigurationError(
            "A credential object cannot travel to the app. Pass None: the app uses its own identity, "
            "or the client_secret in azure_json."
        )
    account = {name: value for name, value in azure_json.items() if value is not None}
    request = {
        "experiment_id": experiment_id,
        "n_instances": n_instances,
        "uri": uri,
        "resource_uris": list(resource_uris or []),
        "timeout": timeout,
        "azure_json": account,
        "location": location,
        "vm_size": vm_size,
        "image_publisher": image_publisher,
        "image_offer": image_offer,
        "image_sku": image_sku,
        "image_version": image_version,
        "disk_type": disk_type,
        "max_undead": max_undead,
        "delete_on_complete": delete_on_complete,
        "batch_id": None if batch_id is None else batch_id % LARGEST_BATCH,
    }
    with FleetClient() as client:
        fleet = client.submit(request)["id"]
        for status in client.watch(fleet, INTERVAL):
            if status["phase"] in ("failed", "cancelled"):
                settled(status)
            if status["provisioned_at"] is not None:
                return
