"""Builds the orchestrator's input, the order, from a request."""

from __future__ import annotations

from typing import cast

from fleet.api.request import FleetRequest, unique_scopes
from fleet.api.responses.request import Understood
from fleet.model import requirements_lock
from fleet.model.images import Image, name_of
from fleet.model.records import Fallback, Order
from fleet.settings import Settings


def build_order(request: FleetRequest, settings: Settings, batch_id: int) -> Order:
    """Merge a request with the deployment's settings. `sealed` and `fingerprint` stay empty.

    Expects that subscription and resource group are set in one of the two.
    """
    account = request.azure_json
    order: Order = {
        "batch_id": batch_id,
        "experiment_id": request.experiment_id,
        "n_instances": request.n_instances,
        "min_instances": request.min_instances,
        "max_undead": request.max_undead,
        "timeout": request.timeout,
        "delete_on_complete": request.delete_on_complete,
        "resource_uris": unique_scopes(request),
        "subscription_id": account.subscription_id or settings.subscription_id or "",
        "resource_group": account.resource_group or settings.resource_group or "",
        "tenant_id": account.tenant_id,
        "client_id": account.client_id,
        # With a secret, the plan reads the object ID from the token of the application's principal.
        "client_principal_id": request.client_principal_id
        or (None if account.client_secret else account.client_id),
        "client_principal_type": request.client_principal_type,
        "location": request.location,
        "zones": list(dict.fromkeys(request.zones)),
        "vm_size": request.vm_size,
        "priority": request.priority,
        "fallbacks": [
            cast(Fallback, one.model_dump(exclude_none=True)) for one in request.fallbacks
        ],
        "sizes": {},
        "vm": {
            "image": _image(request),
            "disk_type": request.disk_type,
            "max_price": request.max_price,
            "ephemeral_os_disk": request.ephemeral_os_disk,
        },
        "outbound": request.outbound,
        "subnet_id": request.subnet_id,
        "ssh_public_key": request.ssh_public_key,
        "tags": dict(request.tags),
        "max_lifetime": request.max_lifetime,
        "max_cost": request.max_cost,
        "boot_poll_seconds": settings.boot_poll_seconds,
        "writes_per_second": settings.writes_per_second,
        "owner": settings.owner,
        "powerlift_version": request.powerlift_version,
        "vm_role": settings.vm_role,
        "run_poll_seconds": settings.run_poll_seconds,
        "sealed": "",
        "fingerprint": "",
    }
    if request.requirements_lock is not None:
        order["requirements_lock"] = {
            "digest": requirements_lock.digest(request.requirements_lock),
            "missing_tools": requirements_lock.missing_tools(request.requirements_lock),
        }
    if request.trial_order != "fifo":
        order["trial_order"] = request.trial_order
        seed = request.trial_seed
        order["trial_seed"] = request.experiment_id if seed is None else seed
    if request.cpu_models:
        order["cpu_models"] = list(dict.fromkeys(request.cpu_models))
    if settings.vm_identity:
        order["vm_identity"] = {"id": settings.vm_identity, "database_user": settings.vm_db_user}
    return order


def _image(request: FleetRequest) -> Image:
    if request.image_id is not None:
        return {"id": request.image_id}
    return {
        "publisher": request.image_publisher,
        "offer": request.image_offer,
        "sku": request.image_sku,
        "version": request.image_version,
    }


def understood(order: Order) -> Understood:
    """The request in an order."""
    vm = order["vm"]
    return {
        "min_instances": order["min_instances"],
        "max_undead": order["max_undead"],
        "location": order["location"],
        "vm_size": order["vm_size"],
        "image": name_of(vm["image"]),
        "disk_type": vm["disk_type"],
        "resource_uris": order["resource_uris"],
        "timeout": order["timeout"],
        "max_lifetime": order["max_lifetime"],
        "max_cost": order.get("max_cost"),
        "delete_on_complete": order["delete_on_complete"],
        "trial_order": order.get("trial_order", "fifo"),
        "trial_seed": order.get("trial_seed"),
        "cpu_models": order.get("cpu_models", []),
    }
