"""Compute's validation of a new VM, beyond the schema (from the API reference)."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable

from local.azure.arm.errors import ArmError, invalid_parameter, missing_parameter
from local.azure.arm.resources import Json, member_at
from local.azure.compute.images import Image, find_image
from local.azure.compute.sizes import SIZES, ZONES, Size, is_spot
from local.azure.faults.azure_errors import azure_error

CUSTOM_DATA_LIMIT = 65535
"""Bytes after decoding."""

_MAX_NAME = 64
_NAME_FORBIDS = re.compile(r"""[\\/"\[\]:|<>+=;,?*@&~!#$%^(){}'`\s]""")
_ADMIN = re.compile(r"[a-z_][a-z0-9_-]{0,63}", re.IGNORECASE)
_DISALLOWED_ADMINS = (
    "administrator", "admin", "user", "user1", "test", "user2", "test1", "user3", "admin1", "1",
    "123", "a", "actuser", "adm", "admin2", "aspnet", "backup", "console", "david", "guest", "john",
    "owner", "root", "server", "sql", "support", "support_388945a0", "sys", "test2", "test3",
    "user4", "user5",
)  # fmt: skip
_MIN_RSA_BITS = 2048


FindImage = Callable[[Json, str], Image]
"""Of an `imageReference` to a gallery and a region. Raises ArmError 404."""


def validate_vm(name: str, body: Json, find: FindImage) -> str | None:
    """Raise ArmError 400 or 404 for what the schema cannot express. Returns the exact version of the
    image, if the VM has one.
    """
    properties = body["properties"]
    _check_name("vmName", name)
    _check_size(properties["hardwareProfile"]["vmSize"], body["location"], body.get("zones") or [])
    version = _check_disk(body, find)
    if not properties["networkProfile"].get("networkInterfaces"):
        if properties["networkProfile"].get("networkInterfaceConfigurations"):
            text = "Interfaces inside the VM's body are not simulated; create them first."
            raise invalid_parameter("networkProfile.networkInterfaceConfigurations", text)
        raise missing_parameter("networkProfile.networkInterfaces")
    _check_spot(properties)
    if properties.get("userData"):
        _decode("userData", properties["userData"])
    if properties["storageProfile"]["osDisk"]["createOption"].lower() == "fromimage":
        if not properties.get("osProfile"):
            raise missing_parameter("osProfile")
        _check_os(properties["osProfile"])
    return version


def decode_custom_data(encoded: str) -> bytes:
    """Decode custom data. Raises ArmError 400 if it is not base64 or too long."""
    return _decode("osProfile.customData", encoded)


def _decode(target: str, encoded: str) -> bytes:
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        text = f"{target} should be a base64 encoded string."
        raise invalid_parameter(target, text) from None
    if len(decoded) > CUSTOM_DATA_LIMIT:
        text = f"{target} should not exceed {CUSTOM_DATA_LIMIT} bytes; it has {len(decoded)}."
        raise invalid_parameter(target, text)
    return decoded


def _check_name(target: str, name: str) -> None:
    bad_end = name.endswith((".", "-")) or name.startswith("_")
    if not 1 <= len(name) <= _MAX_NAME or _NAME_FORBIDS.search(name) or bad_end or name.isdigit():
        raise invalid_parameter(
            target,
            f"The name '{name}' is not valid. Linux names may only contain 1-{_MAX_NAME} letters, "
            "numbers, '.', and '-', must not be only digits, start with '_' or end with '.' or '-'.",
        )


def _check_size(size: str, location: str, zones: list[str]) -> None:
    if size.lower() not in SIZES:
        offered = ",".join(known.name for known in SIZES.values())
        raise invalid_parameter(
            "vmSize",
            f"The value {size} provided for the VM size is not valid. The valid sizes in the current "
            f"region are: {offered}. Find out more on the available VM sizes in each region at "
            "https://aka.ms/azure-regions.",
        )
    if len(zones) > 1:
        raise invalid_parameter("zones", "A virtual machine can be in one availability zone only.")
    for zone in zones:
        if zone not in ZONES[location]:
            raise ArmError(
                400,
                "InvalidAvailabilityZone",
                f"The zone(s) '{zone}' for resource 'Microsoft.Compute/virtualMachines' is not "
                f"supported. The supported zones for location '{location}' are "
                f"'{','.join(ZONES[location])}'",
            )


def _check_boots(size: Size, image: Image, *, has_plan: bool) -> None:
    """Raise ArmError 400 if a size cannot boot an image."""
    if size.architecture != image.architecture:
        raise azure_error(
            "ArchitectureNotSupported",
            size=size.name,
            supported=size.architecture,
            given=image.architecture,
        )
    if image.generation not in size.generations.split(","):
        number = image.generation.removeprefix("V")
        raise azure_error("GenerationNotSupported", size=size.name, generation=number)
    if not set(size.controllers.split(", ")) & set(image.controllers.split(", ")):
        raise azure_error("DiskControllerNotSupported", size=size.name)
    if image.needs_plan and not has_plan:
        raise ArmError(
            400,
            "VMMarketplaceInvalidInput",
            "Creating a virtual machine from Marketplace image or a custom image sourced from a "
            "Marketplace image requires Plan information in the request.",
        )


def _check_premium(disk: Json, size: Size) -> None:
    kind = (disk.get("managedDisk") or {}).get("storageAccountType") or ""
    if kind.lower().startswith("premium") and not size.has_premium_disks:
        raise azure_error(
            "PremiumDiskNotSupported", size=size.name, disk_type=kind, disk=str(disk.get("name"))
        )


def _check_disk(body: Json, find: FindImage) -> str | None:
    properties, has_plan = body["properties"], bool(body.get("plan"))
    storage = properties["storageProfile"]
    disk, image = storage["osDisk"], storage.get("imageReference")
    size = SIZES[properties["hardwareProfile"]["vmSize"].lower()]
    _check_premium(disk, size)
    if disk["createOption"].lower() != "fromimage":
        return None
    if not image:
        raise missing_parameter("storageProfile.imageReference")
    if disk.get("diffDiskSettings") and (disk.get("caching") or "").lower() != "readonly":
        text = "OS disk caching must be ReadOnly for an ephemeral OS disk."
        raise invalid_parameter("osDisk.caching", text)
    if image.get("id") or image.get("sharedGalleryImageId") or image.get("communityGalleryImageId"):
        found = find(image, body["location"])
        _check_gallery(found, properties)
        _check_boots(size, found, has_plan=has_plan)
        return found.release
    return _check_marketplace(image, size, has_plan=has_plan)


def _check_gallery(image: Image, properties: Json) -> None:
    """Messages of azure-docs, shared images, and terraform-provider-azurerm#23148."""
    if image.is_specialized and properties.get("osProfile"):
        raise invalid_parameter("osProfile", "Parameter 'osProfile' is not allowed.")
    asked = (properties.get("securityProfile") or {}).get("securityType") or "Standard"
    only = image.security
    if only.lower() in ("trustedlaunch", "confidentialvm") and asked.lower() != only.lower():
        text = (
            "The provided gallery image only supports creation of VMs and VM Scale Sets with "
            f"'{only}' security type."
        )
        raise ArmError(400, "BadRequest", text)


def _check_marketplace(image: Json, size: Size, *, has_plan: bool) -> str:
    members = ("publisher", "offer", "sku", "version")
    for member in members:
        if not image.get(member):
            raise missing_parameter(f"imageReference.{member}")
    names = [image[member] for member in members]
    found = find_image(*names)
    if found is None:
        raise azure_error("PlatformImageNotFound", image=":".join(names))
    _check_boots(size, found, has_plan=has_plan)
    is_latest = image["version"].lower() == "latest"
    return found.versions[-1] if is_latest else str(image["version"])


def _check_spot(properties: Json) -> None:
    spot = is_spot(properties)
    size = properties["hardwareProfile"]["vmSize"]
    if properties.get("evictionPolicy") and not spot:
        raise azure_error("EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines")
    if member_at(properties, "billingProfile", "maxPrice") is not None and not spot:
        raise azure_error("MaxPriceIsSupportedOnlyForAzureSpotVirtualMachines")
    if spot and size.lower().startswith("standard_b"):
        raise azure_error("AzureSpotIsNotSupportedForThisVMSize", size=size)


def _check_os(profile: Json) -> None:
    for member in ("computerName", "adminUsername"):
        if not profile.get(member):
            raise missing_parameter(f"osProfile.{member}")
    _check_name("computerName", profile["computerName"])
    user = profile["adminUsername"]
    if user.lower() in _DISALLOWED_ADMINS:
        raise invalid_parameter(
            "adminUsername",
            "The Admin Username specified is not allowed. For more information about disallowed "
            "usernames, see https://aka.ms/vmosprofile",
        )
    if not _ADMIN.fullmatch(user):
        raise invalid_parameter("adminUsername", f"The Admin Username '{user}' is not valid.")
    if profile.get("customData"):
        decode_custom_data(profile["customData"])
    linux = profile.get("linuxConfiguration") or {}
    keys = (linux.get("ssh") or {}).get("publicKeys") or []
    if linux.get("disablePasswordAuthentication"):
        if not keys:
            text = "Authentication using SSH was requested, but no SSH public key is given."
            raise invalid_parameter("linuxConfiguration", text)
    elif not profile.get("adminPassword"):
        raise missing_parameter("osProfile.adminPassword")
    for key in keys:
        _check_key(key, user)


def _check_key(key: Json, user: str) -> None:
    path = f"/home/{user}/.ssh/authorized_keys"
    if key.get("path") != path:
        raise invalid_parameter(
            "linuxConfiguration.ssh.publicKeys.path",
            "Destination path for SSH public keys is currently limited to its default value "
            f"{path} due to a known issue in Linux provisioning agent.",
        )
    if not _is_valid_key(key.get("keyData") or ""):
        raise invalid_parameter(
            "linuxConfiguration.ssh.publicKeys.keyData",
            "The value of parameter linuxConfiguration.ssh.publicKeys.keyData is invalid.",
        )


def _is_valid_key(text: str) -> bool:
    """RSA of at least 2048 bits, or Ed25519, in OpenSSH's one-line form (RFC 4253, RFC 8709)."""
    fields = text.split()
    if len(fields) < 2 or fields[0] not in ("ssh-rsa", "ssh-ed25519"):
        return False
    try:
        parts = _strings(base64.b64decode(fields[1], validate=True))
    except (binascii.Error, ValueError, struct.error):
        return False
    if not parts or parts[0] != fields[0].encode():
        return False
    if fields[0] == "ssh-ed25519":
        return len(parts) == 2 and len(parts[1]) == 32
    return len(parts) == 3 and int.from_bytes(parts[2], "big").bit_length() >= _MIN_RSA_BITS


def _strings(blob: bytes) -> list[bytes]:
    parts = []
    while blob:
        (length,) = struct.unpack(">I", blob[:4])
        if len(blob) < 4 + length:
            raise ValueError("truncated")
        parts.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return parts
