"""Managed disks. They are created with a VM, and deleted with it or detached."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError
from local.azure.arm.operations import DISK_DELETE, Operations
from local.azure.arm.resources import Json, Resource, Target, parse_id
from local.azure.clock import timestamp
from local.azure.cloud import Cloud
from local.azure.faults.azure_errors import azure_error

_TYPE = "Microsoft.Compute/disks"
DEFAULT_SIZE_GB = 30
"""The OS disk size of the Ubuntu images."""


class Disks:
    """Microsoft.Compute/disks."""

    def __init__(self, cloud: Cloud, operations: Operations) -> None:
        self._cloud, self._operations = cloud, operations

    def routes(self) -> list[Route]:
        """GET, DELETE and list; there is no PUT, since disks are created with their VM."""
        return [
            Route("GET", _TYPE, self._get),
            Route("DELETE", _TYPE, self._delete),
            Route("GET", _TYPE, self._list, collection=True),
        ]

    def check_free(self, vm: Target, names: Sequence[str]) -> None:
        """Raise ArmError 409 if a disk with one of these names exists."""
        for name in names:
            found = self._cloud.store.find(self._target(vm, name).path)
            if found is not None:
                raise ArmError(
                    409,
                    "ConflictingUserInput",
                    f"Disk {name} already exists in resource group {(vm.group or '').upper()}. Only "
                    "CreateOption.Attach is supported.",
                    target=found.id,
                )

    def create(self, vm: Resource, disk: Json, index: int) -> str:
        """Create the disk that a VM's storage profile describes; returns its id."""
        name = disk.get("name") or f"{vm.name}_{_role(index)}_{index}_{uuid.uuid4().hex}"
        target = self._target(vm.target, name)
        body = {
            "name": name,
            "id": target.path,
            "type": _TYPE,
            "location": vm.location,
            **({"tags": vm.body["tags"]} if vm.body.get("tags") else {}),
            **({"zones": vm.body["zones"]} if vm.body.get("zones") else {}),
            "managedBy": vm.id,
            "sku": {"name": disk["managedDisk"]["storageAccountType"], "tier": "Standard"},
            "properties": {
                "osType": disk.get("osType"),
                "creationData": {"createOption": disk["createOption"]},
                "diskSizeGB": disk.get("diskSizeGB") or DEFAULT_SIZE_GB,
                "timeCreated": timestamp(),
                "provisioningState": "Succeeded",
                "diskState": "Attached",
                "uniqueId": str(uuid.uuid4()),
            },
        }
        self._cloud.store.add(Resource(target, body))
        return target.path

    def release(self, id_: str, *, delete: bool) -> None:
        """Delete a disk with its VM, or detach it."""
        disk = self._cloud.store.find(id_)
        if disk is None:
            return
        if delete:
            self._cloud.store.remove(disk)
            return
        disk.body.pop("managedBy", None)
        disk.properties["diskState"] = "Unattached"

    def _target(self, vm: Target, name: str) -> Target:
        # Compute returns the resource group in upper case here (recorded).
        group = (vm.group or "").upper()
        root = f"{self._cloud.subscription_scope}/resourceGroups/{group}"
        return parse_id(f"{root}/providers/{_TYPE}/{name}")

    async def _get(self, call: Call) -> Reply:
        return Reply(200, self._cloud.store.get(call.target).body)

    async def _list(self, call: Call) -> Reply:
        found = self._cloud.store.list_collection(call.target)
        return self._cloud.page(call, found, lambda disk: disk.body)

    async def _delete(self, call: Call) -> Reply:
        await self._cloud.wait("delete", call.target.name)
        disk = self._cloud.store.find(call.target.path)
        if disk is None:
            return Reply(204)
        owner = disk.body.get("managedBy")
        if owner:
            raise azure_error("AttachedToVm", name=disk.name, vm_id=owner)
        return self._operations.start_delete(
            call, disk.location, DISK_DELETE, "disk.delete", lambda: self._cloud.store.remove(disk)
        )


def _role(index: int) -> str:
    return "OsDisk" if index == 1 else "DataDisk"
