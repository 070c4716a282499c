"""Conversions between Azure's JSON for a VM and the fleet's records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fleet.azure import arm_bodies
from fleet.azure.arm_bodies import Body
from fleet.model import names
from fleet.model.database_uri import libpq_options
from fleet.model.failure import NO_REASON
from fleet.model.order_parts import FleetRef, NetworkOrder, VmIdentity, VmOrder
from fleet.model.records import AcceptedVm, Placement
from fleet.model.requirements_lock import architecture_of, lock_key
from fleet.settings import own_root_certificates
from fleet.vm.render import Startup, custom_data, render


def subnet_id(order: NetworkOrder, location: str) -> str:
    """The ARM ID of the fleet's subnet: the request's `subnet_id`, else the region's shared subnet."""
    vnet = names.resource_id(order, "Microsoft.Network/virtualNetworks", names.vnet(location))
    return order["subnet_id"] or f"{vnet}/subnets/{names.subnet(location)}"


def nic_id(order: FleetRef, ordinal: int) -> str:
    name = names.nic(order["batch_id"], ordinal)
    return names.resource_id(order, "Microsoft.Network/networkInterfaces", name)


def startup_data(
    order: VmOrder, ordinal: int, placement: Placement, uri: str, endpoint: str
) -> str:
    """The VM's custom data (base64). Raises CustomDataTooLarge, SettingsError."""
    lock = order.get("requirements_lock")
    startup = Startup(
        experiment_id=order["experiment_id"],
        runner_id=names.runner_id(order["batch_id"], ordinal),
        uri=uri,
        fleet_size=order["n_instances"],
        timeout=order["timeout"],
        delete_on_complete=order["delete_on_complete"],
        subscription_id=order["subscription_id"],
        resource_group=order["resource_group"],
        vm_name=names.vm(order["batch_id"], ordinal),
        lock_key=lock_key(order["sealed"], architecture_of(placement["vm_size"])),
        lock_digest=lock["digest"] if lock else "",
        resource_manager_endpoint=endpoint,
        database_identity=database_identity(order, uri),
        root_certificates=own_root_certificates(),
        is_spot=placement["priority"] == "Spot",
        trial_order=order.get("trial_order", "fifo"),
        trial_seed=order.get("trial_seed", 0),
        cpu_models=order.get("cpu_models", []),
    )
    return custom_data(render(startup))


def body(order: VmOrder, ordinal: int, placement: Placement, uri: str, endpoint: str) -> Body:
    """The VM's PUT body; deterministic, so that the PUT is idempotent."""
    data = startup_data(order, ordinal, placement, uri, endpoint)
    identity = database_identity(order, uri)
    identity_id = identity["id"] if identity else None
    return arm_bodies.vm(order, ordinal, placement, nic_id(order, ordinal), data, identity_id)


def database_identity(order: VmOrder, uri: str) -> VmIdentity | None:
    """The identity that the order's VMs need for the database; None if the URI has a password.

    Trials can use any identity of their VM, so VMs get no identity that they do not need.
    """
    return None if "password" in libpq_options(uri) else order.get("vm_identity")


def have_same_nic(one: Body, other: Body) -> bool:
    """Whether two VM bodies name the same first NIC, which a VM cannot exchange by itself."""
    ids = [vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"] for vm in (one, other)]
    return str(ids[0]).lower() == str(ids[1]).lower()


def accepted(ordinal: int, vm: Body) -> AcceptedVm:
    return {
        "ordinal": ordinal,
        "created_at": created_at(vm),
        "principal_id": principal_id(vm),
    }


def principal_id(vm: Body) -> str | None:
    found: str | None = (vm.get("identity") or {}).get("principalId")
    return found


def created_at(vm: Body) -> str:
    """When Azure accepted the VM, ISO 8601. Defaults to now."""
    return vm["properties"].get("timeCreated") or datetime.now(UTC).isoformat()


def failure_in(instance_view: Body) -> tuple[str, str] | None:
    """The error code and message in a failed VM's instance view; None for any other VM."""
    for status in instance_view.get("statuses", []):
        kind, _, rest = status["code"].partition("/")
        state, _, code = rest.partition("/")
        if (kind, state.lower()) == ("ProvisioningState", "failed"):
            return code or "ProvisioningFailed", status.get("message") or NO_REASON
    return None


def provisioning_state(resource: Any) -> str:
    return str((resource.get("properties") or {}).get("provisioningState", "Unknown"))
