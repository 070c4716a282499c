"""The regions and VM sizes of the simulated cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.azure.arm.calls import Call
from local.azure.arm.errors import gateway

ZONES = {
    "eastus": ("1", "2", "3"),
    "eastus2": ("1", "2", "3"),
    "centralus": ("1", "2", "3"),
    "southcentralus": ("1", "2", "3"),
    "westus": (),
    "westus2": ("1", "2", "3"),
    "westus3": ("1", "2", "3"),
    "northeurope": ("1", "2", "3"),
    "westeurope": ("1", "2", "3"),
    "uksouth": ("1", "2", "3"),
}
"""Region -> its availability zones."""


def check_region(call: Call, type_: str) -> None:
    """Raise ArmError 400 NoRegisteredProviderFound for a path at an unknown region (azure-cli#2003)."""
    region, version = call.target.names[0], call.request.query["api-version"]
    if region.lower() not in ZONES:
        raise gateway(
            400,
            "NoRegisteredProviderFound",
            f"No registered resource provider found for location '{region}' and API version "
            f"'{version}' for type '{type_}'. The supported api-versions are '{version}'. The supported "
            f"locations are '{', '.join(ZONES)}'.",
        )


@dataclass(frozen=True)
class Size:
    name: str
    family: str
    vcpus: int
    memory_gb: float
    gpus: int = 0
    has_premium_disks: bool = True
    architecture: str = "x64"
    generations: str = "V1,V2"
    """The Hyper-V generations of images that it boots."""
    controllers: str = "SCSI"
    """Its disk controllers."""


def is_spot(properties: Mapping[str, Any]) -> bool:
    """Whether Azure may evict a VM with these properties."""
    return str(properties.get("priority") or "").lower() in ("spot", "low")


def _sizes(
    family: str, name: str, vcpus: tuple[int, ...], gb_per_vcpu: float, **more: Any
) -> list[Size]:
    return [Size(name.format(n), family, n, n * gb_per_vcpu, **more) for n in vcpus]


_SMALL = (2, 4, 8, 16, 32, 48, 64, 96)
_NVME: dict[str, Any] = {"generations": "V2", "controllers": "NVMe"}
_ARM: dict[str, Any] = {"generations": "V2", "architecture": "Arm64"}

# Families and sizes are from the VM size pages of learn.microsoft.com.
_ALL = [
    Size("Standard_B1s", "standardBSFamily", 1, 1),
    Size("Standard_B1ms", "standardBSFamily", 1, 2),
    Size("Standard_B2s", "standardBSFamily", 2, 4),
    Size("Standard_B2ms", "standardBSFamily", 2, 8),
    Size("Standard_B4ms", "standardBSFamily", 4, 16),
    Size("Standard_B8ms", "standardBSFamily", 8, 32),
    Size("Standard_B16ms", "standardBSFamily", 16, 64),
    Size("Standard_B2ts_v2", "standardBsv2Family", 2, 1),
    Size("Standard_B2ls_v2", "standardBsv2Family", 2, 4),
    *_sizes("standardBsv2Family", "Standard_B{}s_v2", (2, 4, 8, 16, 32), 4),
    *_sizes("standardBasv2Family", "Standard_B{}as_v2", (2, 4, 8, 16, 32), 4),
    *_sizes("standardDSv3Family", "Standard_D{}s_v3", _SMALL, 4),
    *_sizes("standardDSv5Family", "Standard_D{}s_v5", _SMALL, 4),
    *_sizes("standardDDSv5Family", "Standard_D{}ds_v5", _SMALL, 4),
    *_sizes("standardDASv5Family", "Standard_D{}as_v5", _SMALL, 4),
    *_sizes("standardDLSv5Family", "Standard_D{}ls_v5", _SMALL, 2),
    *_sizes("standardDv5Family", "Standard_D{}_v5", _SMALL, 4, has_premium_disks=False),
    *_sizes("StandardDsv6Family", "Standard_D{}s_v6", _SMALL, 4, **_NVME),
    *_sizes("standardDPSv5Family", "Standard_D{}ps_v5", _SMALL[:7], 4, **_ARM),
    *_sizes("StandardDpsv6Family", "Standard_D{}ps_v6", _SMALL, 4, **{**_ARM, **_NVME}),
    *_sizes("standardESv5Family", "Standard_E{}s_v5", _SMALL, 8),
    *_sizes("standardEASv5Family", "Standard_E{}as_v5", _SMALL, 8),
    *_sizes("standardFSv2Family", "Standard_F{}s_v2", (2, 4, 8, 16, 32, 48, 64, 72), 2),
    Size("Standard_NC4as_T4_v3", "Standard NCASv3_T4 Family", 4, 28, 1),
    Size("Standard_NC8as_T4_v3", "Standard NCASv3_T4 Family", 8, 56, 1),
    Size("Standard_NC16as_T4_v3", "Standard NCASv3_T4 Family", 16, 110, 1),
    Size("Standard_NC64as_T4_v3", "Standard NCASv3_T4 Family", 64, 440, 4),
    Size("Standard_NC24ads_A100_v4", "standardNCADSA100v4Family", 24, 220, 1, generations="V2"),
    Size("Standard_NC48ads_A100_v4", "standardNCADSA100v4Family", 48, 440, 2, generations="V2"),
]

SIZES = {size.name.lower(): size for size in _ALL}
"""By lower-cased name."""
