"""The regions, VM sizes and images of the simulated cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Size:
    name: str
    family: str
    vcpus: int
    memory_gb: float
    gpus: int = 0
    premium_disks: bool = True
    architecture: str = "x64"
    generations: str = "V1,V2"
    """Of images that it boots."""
    disk_controllers: str = "SCSI"


def _sizes(
    family: str, name: str, vcpus: tuple[int, ...], gb_per_vcpu: float, **more: Any
) -> list[Size]:
    return [Size(name.format(n), family, n, n * gb_per_vcpu, **more) for n in vcpus]


_SMALL = (2, 4, 8, 16, 32, 48, 64, 96)
_NVME = {"generations": "V2", "disk_controllers": "NVMe"}
_ARM64 = {"generations": "V2", "architecture": "Arm64"}

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
    *_sizes("StandardDsv6Family", "Standard_D{}s_v6", _SMALL, 4, **_NVME),
    *_sizes("standardDv3Family", "Standard_D{}_v3", (2, 4, 8), 4, premium_disks=False),
    *_sizes("standardDPSv5Family", "Standard_D{}ps_v5", (2, 4, 8), 4, **_ARM64),
    *_sizes("standardESv5Family", "Standard_E{}s_v5", _SMALL, 8),
    *_sizes("standardEASv5Family", "Standard_E{}as_v5", _SMALL, 8),
    *_sizes("standardFSv2Family", "Standard_F{}s_v2", (2, 4, 8, 16, 32, 48, 64, 72), 2),
    Size("Standard_NC4as_T4_v3", "Standard NCASv3_T4 Family", 4, 28, 1),
    Size("Standard_NC8as_T4_v3", "Standard NCASv3_T4 Family", 8, 56, 1),
    Size("Standard_NC16as_T4_v3", "Standard NCASv3_T4 Family", 16, 110, 1),
    Size("Standard_NC64as_T4_v3", "Standard NCASv3_T4 Family", 64, 440, 4),
    Size("Standard_NC24ads_A100_v4", "standardNCADSA100v4Family", 24, 220, 1),
    Size("Standard_NC48ads_A100_v4", "standardNCADSA100v4Family", 48, 440, 2),
]

SIZES = {size.name.lower(): size for size in _ALL}
"""By lower-cased name."""

_OFFERS: dict[str, dict[str, tuple[str, ...]]] = {
    "canonical": {
        "ubuntu-24_04-lts": ("server", "server-arm64", "minimal", "server-gen1"),
        "ubuntu-22_04-lts": ("server", "server-arm64", "minimal"),
        "0001-com-ubuntu-server-jammy": ("22_04-lts", "22_04-lts-gen2", "22_04-lts-arm64"),
        "0001-com-ubuntu-server-focal": ("20_04-lts", "20_04-lts-gen2"),
    },
    "debian": {"debian-12": ("12", "12-gen2", "12-arm64")},
    "almalinux": {"almalinux-x86_64": ("9-gen2", "8-gen2")},
    "microsoft-dsvm": {"ubuntu-hpc": ("2204",), "ubuntu-2204": ("2204-gen2",)},
}


def architecture_of(sku: str) -> str:
    """The CPU architecture of a marketplace image."""
    return "Arm64" if "arm64" in sku.lower() else "x64"


def generation_of(offer: str, sku: str) -> str:
    """`V1` or `V2`. Older offers of Canonical and Debian name generation 2 only."""
    older = offer.lower().startswith(("0001-com-ubuntu-server-", "debian-"))
    named = any(word in sku.lower() for word in ("gen2", "arm64"))
    return "V1" if "gen1" in sku.lower() or (older and not named) else "V2"


def has_image(publisher: str, offer: str, sku: str) -> bool:
    """Whether the simulated marketplace has this image."""
    return sku.lower() in _OFFERS.get(publisher.lower(), {}).get(offer.lower(), ())
