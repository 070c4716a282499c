"""A VM between Azure's JSON and our records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fleet import bodies, names
from fleet.bodies import Body
from fleet.records import Machine, Order
from fleet.startup import Startup, custom_data, render


def subnet_id(order: Order) -> str:
    """The ARM id of the fleet's subnet: the user's own, or the region's shared one."""
    location = order["location"] or ""
    network = names.resource_id(
        order["subscription_id"],
        order["resource_group"],
        "Microsoft.Network/virtualNetworks",
        names.vnet(location),
    )
    return order["subnet_id"] or f"{network}/subnets/{names.subnet(location)}"


def nic_id(order: Order, ordinal: int) -> str:
    name = names.nic(order["batch_id"], ordinal)
    kind = "Microsoft.Network/networkInterfaces"
    return names.resource_id(order["subscription_id"], order["resource_group"], kind, name)


def startup_data(order: Order, ordinal: int, uri: str, endpoint: str) -> str:
    """The VM's custom data (base64). Raises CustomDataTooLarge."""
    startup = Startup(
        experiment_id=order["experiment_id"],
        runner_id=names.runner_id(order["batch_id"], ordinal),
        uri=uri,
        timeout=order["timeout"],
        delete_on_complete=order["delete_on_complete"],
        subscription_id=order["subscription_id"],
        resource_group=order["resource_group"],
        vm_name=names.machine(order["batch_id"], ordinal),
        resource_manager_endpoint=endpoint,
    )
    return custom_data(render(startup))


def body(order: Order, ordinal: int, uri: str, endpoint: str) -> Body:
    """The VM's PUT body. The same for the same arguments, so that the PUT can be repeated."""
    return bodies.machine(
        order, ordinal, nic_id(order, ordinal), startup_data(order, ordinal, uri, endpoint)
    )


def record(ordinal: int, vm: Body) -> Machine:
    """A VM's JSON as a record. Its principal id is None where Azure has not said it yet."""
    return {
        "ordinal": ordinal,
        "name": vm["name"],
        "created_at": vm["properties"].get("timeCreated") or datetime.now(UTC).isoformat(),
        "principal_id": (vm.get("identity") or {}).get("principalId"),
        "assigned": [],
        "settled": False,
        "refusal": None,
        "tries": 0,
        "next_try": None,
        "state": "creating",
    }


def provisioning_state(resource: Any) -> str:
    return str((resource.get("properties") or {}).get("provisioningState", "Unknown"))
