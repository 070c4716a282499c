"""The VM resource: its state, its representations, and its immutable properties."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from local.azure.arm.errors import ArmError
from local.azure.arm.operations import Operation
from local.azure.arm.resources import Json, Resource, Target, member_at
from local.azure.clock import timestamp
from local.azure.compute.disks import DEFAULT_SIZE_GB
from local.azure.compute.sizes import is_spot
from local.azure.identity.directory import Principal
from local.azure.network.interfaces import Interface

VM_TYPE = "Microsoft.Compute/virtualMachines"

_SECRETS = ("customData", "adminPassword")
# Properties that an update may change. All others must be unchanged in a repeated PUT.
_MUTABLE = ("hardwareProfile", "userData", "diagnosticsProfile", "billingProfile", "licenseType",
            "scheduledEventsProfile", "applicationProfile", "resiliencyProfile")  # fmt: skip
_SERVER_SET = ("provisioningState", "instanceView", "vmId", "timeCreated")
# Code prefixes of errors that occur after the kernel has booted.
_GUEST_FAILURES = ("OSProvisioning", "VMExtension", "VMAgent")


@dataclass
class VirtualMachine(Resource):
    """A VM. Secrets are in `secrets`, never in `body`."""

    secrets: Json = field(default_factory=dict)
    user_data: str | None = None
    state: str = "Creating"
    power: str | None = None
    """`running`, `stopped`, `deallocated`, or None before the first boot."""
    failure: ArmError | None = None
    principal: Principal | None = None
    """Its system-assigned identity."""
    identities: dict[str, Principal] = field(default_factory=dict)
    """Its user-assigned identities, by ARM ID."""
    interfaces: list[Interface] = field(default_factory=list)
    operation: Operation | None = None
    """The latest operation on the VM."""
    disk_ids: list[tuple[str, bool]] = field(default_factory=list)
    """(id, whether the disk is deleted with the VM)."""
    scheduled_events: list[Json] = field(default_factory=list)
    """The events in its metadata service."""

    @property
    def custom_data(self) -> str | None:
        """Base64, as sent."""
        data: str | None = self.secrets.get("customData")
        return data

    @property
    def is_spot(self) -> bool:
        return is_spot(self.properties)

    @property
    def eviction_policy(self) -> str:
        """`deallocate`, which is the default, or `delete`."""
        return str(self.properties.get("evictionPolicy") or "Deallocate").lower()

    @property
    def has_boot_diagnostics(self) -> bool:
        return bool(member_at(self.properties, "diagnosticsProfile", "bootDiagnostics", "enabled"))

    @property
    def has_booted(self) -> bool:
        """Whether its kernel has ever booted."""
        code = "" if self.failure is None else self.failure.code
        return self.power is not None or code.startswith(_GUEST_FAILURES)

    def boot_messages(self) -> str:
        """The serial console output before custom data runs."""
        image = self.properties["storageProfile"].get("imageReference") or {}
        name = f"{image.get('offer', 'linux')} {image.get('exactVersion', '')}".strip()
        return (
            f"[    0.000000] Linux version 6.14.0-azure ({name})\n"
            f"[    3.141593] systemd[1]: Hostname set to <{self.name}>.\n"
            f"\n{name} {self.name} ttyS0\n\n"
        )

    def disks(self) -> Iterator[Json]:
        """The OS disk, then the data disks."""
        storage = self.properties["storageProfile"]
        yield storage["osDisk"]
        yield from storage.get("dataDisks") or []

    def render(self, expand: str = "") -> Json:
        """What a GET returns; `expand` is `instanceView`, `userData` or empty."""
        body = {**self.body, "etag": self.etag}
        properties = {**self.properties, "provisioningState": self.state}
        if expand.lower() == "instanceview":
            properties["instanceView"] = self.instance_view()
        if expand.lower() == "userdata" and self.user_data:
            properties["userData"] = self.user_data
        return {**body, "properties": properties}

    def render_status(self) -> Json:
        """An item of the subscription's list with statusOnly=true: without tags and profiles."""
        return {
            "name": self.name,
            "id": self.id,
            "type": VM_TYPE,
            "location": self.location,
            "properties": {
                "vmId": self.properties["vmId"],
                "provisioningState": self.state,
                "instanceView": {"statuses": self.statuses()},
            },
        }

    def instance_view(self) -> Json:
        booted = self.power is not None
        guest = {
            "computerName": member_at(self.properties, "osProfile", "computerName"),
            "osName": "ubuntu",
            "osVersion": "24.04",
            "hyperVGeneration": "V2",
        }
        disks = [{"name": disk.get("name"), "statuses": [_status("ProvisioningState", self.state)]}
                 for disk in self.disks()]  # fmt: skip
        return {**(guest if booted else {}), "disks": disks, "statuses": self.statuses()}

    def statuses(self) -> list[Json]:
        """The provisioning state, and the power state once the VM has booted."""
        provisioning = _status("ProvisioningState", self.state)
        if self.failure is not None:
            provisioning |= {
                "code": f"ProvisioningState/failed/{self.failure.code}",
                "level": "Error",
                "message": self.failure.message,
            }
        if self.power is None:
            return [provisioning]
        power = {
            "code": f"PowerState/{self.power}",
            "level": "Info",
            "displayStatus": f"VM {self.power}",
        }
        return [provisioning, power]

    def update(self, body: Json) -> None:
        """Apply a repeated PUT. Raises ArmError 409 if it changes an immutable property."""
        _check_unchanged(body, self)
        if "tags" in body:
            self.body["tags"] = body["tags"] or {}
        for member in _MUTABLE:
            if member in body["properties"] and member != "userData":
                self.properties[member] = body["properties"][member]
        self.user_data = body["properties"].get("userData", self.user_data)
        self.touch()


def _status(kind: str, state: str) -> Json:
    return {
        "code": f"{kind}/{state.lower()}",
        "level": "Info",
        "displayStatus": f"Provisioning {state.lower()}",
        "time": timestamp(),
    }


def new_vm(target: Target, body: Json, image_version: str | None) -> VirtualMachine:
    """A VM from the body of its first PUT, with the server's defaults."""
    properties = copy.deepcopy(body["properties"])
    for member in (*_SERVER_SET, "userData"):
        properties.pop(member, None)
    profile = properties.get("osProfile")
    secrets = {name: profile.pop(name) for name in _SECRETS if profile and profile.get(name)}
    if profile is not None:
        for name in _SECRETS:
            profile.pop(name, None)
        profile.setdefault("secrets", [])
        profile.setdefault("allowExtensionOperations", True)
        profile.setdefault("requireGuestProvisionSignal", True)
        linux = profile.setdefault("linuxConfiguration", {})
        linux.setdefault("disablePasswordAuthentication", False)
        linux.setdefault("provisionVMAgent", True)
    _set_storage_defaults(properties["storageProfile"], image_version)
    now = timestamp()
    properties = {"vmId": str(uuid.uuid4()), **properties, "timeCreated": now}
    kept = {
        k: v
        for k, v in body.items()
        if k in ("location", "tags", "zones", "plan") and v is not None
    }
    return VirtualMachine(
        target,
        {"name": target.name, "id": target.path, "type": VM_TYPE, **kept, "properties": properties},
        secrets=secrets,
        user_data=body["properties"].get("userData"),
    )


def _set_storage_defaults(storage: Json, image_version: str | None) -> None:
    if image_version is not None:
        storage["imageReference"]["exactVersion"] = image_version
    os_disk = storage["osDisk"]
    os_disk.setdefault("osType", "Linux")
    os_disk.setdefault("diskSizeGB", DEFAULT_SIZE_GB)
    storage["dataDisks"] = storage.get("dataDisks") or []
    for disk in (os_disk, *storage["dataDisks"]):
        disk.setdefault("caching", "ReadWrite" if disk is os_disk else "None")
        disk.setdefault("managedDisk", {}).setdefault("storageAccountType", "Standard_LRS")
        ephemeral = bool(disk.get("diffDiskSettings"))
        disk["deleteOption"] = "Delete" if ephemeral else disk.get("deleteOption") or "Detach"


def _check_unchanged(body: Json, vm: VirtualMachine) -> None:
    if body["location"] != vm.location:
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The resource '{vm.name}' already exists in location '{vm.location}' in resource group "
            f"'{vm.target.group}'. A resource with the same name cannot be created in location "
            f"'{body['location']}'. Please select a new resource name.",
            cause="gateway",
        )
    if "zones" in body and (body["zones"] or []) != vm.body.get("zones", []):
        raise _not_allowed("zones")
    for member, value in body["properties"].items():
        if member in _MUTABLE or member in _SERVER_SET:
            continue
        stored = vm.properties.get(member)
        if member == "osProfile":
            stored = {**(stored or {}), **vm.secrets}
        changed = _difference(value, stored, member)
        if changed:
            raise _not_allowed(changed)


def _difference(sent: Any, stored: Any, path: str) -> str | None:
    """The path of the first member that differs from the stored one, or None."""
    if isinstance(sent, dict):
        known = stored if isinstance(stored, dict) else {}
        for name, value in sent.items():
            found = _difference(value, known.get(name), f"{path}.{name}")
            if found:
                return found
        return None
    if isinstance(sent, list):
        if len(sent) != len(stored or []):
            return path
        pairs = zip(sent, stored or [], strict=True)
        return next((p for a, b in pairs if (p := _difference(a, b, path))), None)
    same = sent is None or sent == stored
    if isinstance(sent, str) and isinstance(stored, str):
        # Enumerations and ids are case-insensitive.
        same = sent.lower() == stored.lower() if "customData" not in path else sent == stored
    return None if same else path


def _not_allowed(path: str) -> ArmError:
    return ArmError(
        409, "PropertyChangeNotAllowed", f"Changing property '{path}' is not allowed.", target=path
    )
