"""Request bodies for Azure Resource Manager, in the camelCase of the REST references.

Dicts rather than SDK models: azure-mgmt-compute >= 38 and -network >= 31 send a dict unchanged.
"""

from __future__ import annotations

from typing import Any

from fleet.model import names
from fleet.model.images import (
    Image,
    definition_of,
    is_latest,
    is_private,
    name_of,
    version_of,
    with_version,
)
from fleet.model.order_parts import VmOptions, VmOrder
from fleet.model.records import Placement

VNET_RANGE = "10.0.0.0/16"
SUBNET_RANGE = "10.0.0.0/17"
"""32,763 usable addresses: all fleets of a region share the subnet."""

LAST_PRIORITY = 4096
"""The last rule before the default ones, so that an operator's own rules may allow something."""

_READ_ONLY_IN_SUBNETS = frozenset(
    {
        "provisioningState", "ipConfigurations", "ipConfigurationProfiles", "privateEndpoints",
        "purpose", "resourceNavigationLinks", "serviceAssociationLinks",
    }
)  # fmt: skip
"""Azure ignores them in a PUT, and they name every VM."""

Body = dict[str, Any]


def security_group(location: str) -> Body:
    """Denies all inbound traffic, because no VM serves anything. The default rules would allow it from
    the virtual network: from the VMs of all fleets of a region.
    """
    deny: Body = {
        "protocol": "*",
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "*",
        "access": "Deny",
        "direction": "Inbound",
        "priority": LAST_PRIORITY,
    }
    return {
        "location": location,
        "properties": {"securityRules": [{"name": "DenyInbound", "properties": deny}]},
    }


def subnet(security_group_id: str) -> Body:
    """Outbound access is explicit, because subnets are private by default since API 2025-07-01."""
    return {
        "properties": {
            "addressPrefix": SUBNET_RANGE,
            "defaultOutboundAccess": True,
            "networkSecurityGroup": {"id": security_group_id},
        }
    }


def secured_subnet(existing: Body, security_group_id: str) -> Body:
    """An existing subnet with all that it has, and with a security group if it has none."""
    group = {"networkSecurityGroup": {"id": security_group_id}}
    kept = {
        name: value
        for name, value in existing["properties"].items()
        if name not in _READ_ONLY_IN_SUBNETS
    }
    return {"properties": group | kept}


def vnet(location: str, security_group_id: str) -> Body:
    """The virtual network with its subnet, for one PUT."""
    return {
        "location": location,
        "properties": {
            "addressSpace": {"addressPrefixes": [VNET_RANGE]},
            "subnets": [{"name": names.subnet(location), **subnet(security_group_id)}],
        },
    }


def nic(order: VmOrder, ordinal: int, location: str, subnet_id: str) -> Body:
    return {
        "location": location,
        "tags": _tags(order, ordinal),
        "properties": {
            "ipConfigurations": [
                {"name": "ipconfig", "properties": {"subnet": {"id": subnet_id}}},
            ]
        },
    }


def vm(
    order: VmOrder,
    ordinal: int,
    placement: Placement,
    nic_id: str,
    custom_data: str,
    identity_id: str | None = None,
) -> Body:
    """deleteOption Delete removes the NIC and the OS disk together with the VM.

    `identity_id`: a user-assigned identity in addition to the VM's own.
    """
    options, name = order["vm"], names.vm(order["batch_id"], ordinal)
    body: Body = {
        "location": placement["location"],
        "tags": _tags(order, ordinal),
        "identity": _identity(identity_id),
        "properties": {
            "hardwareProfile": {"vmSize": placement["vm_size"]},
            "storageProfile": {
                "imageReference": image_reference(options["image"]),
                "osDisk": _os_disk(options, name),
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
        # Delete evicted VMs: the disks of deallocated VMs still cost money.
        price = -1 if options["max_price"] is None else options["max_price"]
        body["properties"] |= {
            "priority": "Spot",
            "evictionPolicy": "Delete",
            "billingProfile": {"maxPrice": price},
        }
    return body


def image_reference(image: Image) -> Body:
    """Each kind of gallery has its own member. A private image without a version is its newest one; the
    others require `latest`.
    """
    if "id" not in image:
        return dict(image)
    if is_private(image["id"]):
        return {"id": definition_of(image["id"]) if is_latest(image) else image["id"]}
    is_shared = image["id"].lower().startswith("/sharedgalleries/")
    member = "sharedGalleryImageId" if is_shared else "communityGalleryImageId"
    return {member: name_of(with_version(image, version_of(image)))}


def _identity(user_assigned: str | None) -> Body:
    if user_assigned is None:
        return {"type": "SystemAssigned"}
    return {
        "type": "SystemAssigned, UserAssigned",
        "userAssignedIdentities": {user_assigned: {}},
    }


def role_assignment(
    role_definition_id: str, principal_id: str, principal_type: str, description: str
) -> Body:
    """With `principalType`, Azure skips the lookup of a principal that has not replicated yet."""
    return {
        "properties": {
            "roleDefinitionId": role_definition_id,
            "principalId": principal_id,
            "principalType": principal_type,
            "description": description,
        }
    }


def _os_disk(options: VmOptions, machine_name: str) -> Body:
    disk: Body = {
        "name": names.os_disk(machine_name),
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": options["disk_type"]},
    }
    if options["ephemeral_os_disk"]:
        # Ephemeral OS disks require a read-only cache.
        disk |= {"caching": "ReadOnly", "diffDiskSettings": {"option": "Local"}}
    return disk


def _tags(order: VmOrder, ordinal: int) -> dict[str, str]:
    tags = names.tags(
        order["batch_id"],
        order["experiment_id"],
        order["deadline"],
        order["owner"],
        order["tags"],
    )
    tags[names.RUNNER_TAG] = str(names.runner_id(order["batch_id"], ordinal))
    return tags if order["delete_on_complete"] else {**tags, names.KEEP_TAG: "true"}
