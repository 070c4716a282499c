"""The JSON that goes to Azure: camelCase, as the REST references have it.

Dicts on purpose: azure-mgmt-compute >= 38 and -network >= 31 send a dict as it is, so what is
written here is what is on the wire.
"""

from __future__ import annotations

from typing import Any

from fleet.model import names
from fleet.model.records import Order, Placement, VmOptions

VNET_RANGE = "10.0.0.0/16"
SUBNET_RANGE = "10.0.0.0/17"
"""32,763 addresses (Azure keeps five): every batch of a region shares the subnet."""

Body = dict[str, Any]


def subnet() -> Body:
    """Subnets of new networks are private by default since api-version 2025-07-01: always say it."""
    return {"properties": {"addressPrefix": SUBNET_RANGE, "defaultOutboundAccess": True}}


def vnet(location: str) -> Body:
    """The virtual network with its one subnet, in one PUT."""
    return {
        "location": location,
        "properties": {
            "addressSpace": {"addressPrefixes": [VNET_RANGE]},
            "subnets": [{"name": names.subnet(location), **subnet()}],
        },
    }


def nic(order: Order, ordinal: int, location: str, subnet_id: str) -> Body:
    return {
        "location": location,
        "tags": _tags(order, ordinal),
        "properties": {
            "ipConfigurations": [
                {"name": "ipconfig", "properties": {"subnet": {"id": subnet_id}}},
            ]
        },
    }


def machine(
    order: Order, ordinal: int, placement: Placement, nic_id: str, custom_data: str
) -> Body:
    """A VM that takes its NIC and disk with it when it goes (deleteOption Delete on both)."""
    vm, name = order["vm"], names.vm(order["batch_id"], ordinal)
    body: Body = {
        "location": placement["location"],
        "tags": _tags(order, ordinal),
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "hardwareProfile": {"vmSize": placement["vm_size"]},
            "storageProfile": {
                "imageReference": dict(vm["image"]),
                "osDisk": _os_disk(vm, name),
            },
            "osProfile": {
                "computerName": name,
                "adminUsername": names.ADMIN_USER,
                "customData": custom_data,
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {
                        "publicKeys": [
                            {
                                "path": f"/home/{names.ADMIN_USER}/.ssh/authorized_keys",
                                "keyData": order["ssh_public_key"],
                            }
                        ]
                    },
                },
            },
            "networkProfile": {
                "networkInterfaces": [
                    {"id": nic_id, "properties": {"primary": True, "deleteOption": "Delete"}}
                ]
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        },
    }
    if placement["zone"]:
        body["zones"] = [placement["zone"]]
    if placement["priority"] == "Spot":
        # An evicted VM is deleted: deallocated ones would keep their disks, and be paid for.
        price = -1 if vm["max_price"] is None else vm["max_price"]
        body["properties"] |= {
            "priority": "Spot",
            "evictionPolicy": "Delete",
            "billingProfile": {"maxPrice": price},
        }
    return body


def role_assignment(
    role_definition_id: str, principal_id: str, principal_type: str, description: str
) -> Body:
    """`principalType` is always sent: without it Azure first looks for the principal, too early."""
    return {
        "properties": {
            "roleDefinitionId": role_definition_id,
            "principalId": principal_id,
            "principalType": principal_type,
            "description": description,
        }
    }


def _os_disk(vm: VmOptions, machine_name: str) -> Body:
    disk: Body = {
        "name": names.os_disk(machine_name),
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": vm["disk_type"]},
    }
    if vm["ephemeral_os_disk"]:
        # Azure allows an ephemeral disk only with a read-only cache.
        disk |= {"caching": "ReadOnly", "diffDiskSettings": {"option": "Local"}}
    return disk


def _tags(order: Order, ordinal: int) -> dict[str, str]:
    tags = names.tags(
        order["batch_id"],
        order["experiment_id"],
        order["deadline"],
        order["owner"],
        order["tags"],
    )
    tags[names.RUNNER_TAG] = str(names.runner_id(order["batch_id"], ordinal))
    return tags if order["delete_on_complete"] else {**tags, names.KEEP_TAG: "true"}
