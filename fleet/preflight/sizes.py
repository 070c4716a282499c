"""Checks that the VM sizes are offered in their locations and suit timings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fleet.azure.arm_bodies import Body
from fleet.model.placement import label
from fleet.model.records import Image, Placement
from fleet.preflight.check_result import CheckResult, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Unavailable, capabilities

_BURSTABLE = re.compile(r"standard_b\d", re.IGNORECASE)
_ADVICE = "Choose another vm_size, location, zones, disk_type or image, or add fallbacks."


def offered(inputs: PlanInputs) -> Iterator[CheckResult]:
    """A fault if no placement offers its size, a warning if some do not."""
    yield from (
        unreadable(f"The VM sizes offered in {location}", region.skus)
        for location, region in inputs.regions.items()
        if isinstance(region.skus, Unavailable)
    )
    refused = {label(placement): refusals(inputs, placement) for placement in inputs.placements}
    reasons = "; ".join(f"{label}: {', '.join(why)}" for label, why in refused.items() if why)
    if all(refused.values()):
        yield CheckResult("fault", reasons, _ADVICE, "SizeNotAvailable")
    elif reasons:
        yield CheckResult("warning", reasons, _ADVICE)
    elif not any(isinstance(region.skus, Unavailable) for region in inputs.regions.values()):
        yield CheckResult("ok", f"Offered: {', '.join(refused)}")


def burstable(inputs: PlanInputs) -> Iterator[CheckResult]:
    sizes = {placement["vm_size"]: None for placement in inputs.placements}
    found = [size for size in sizes if _BURSTABLE.match(size)]
    if found:
        detail = (
            f"{', '.join(found)} is burstable: its performance, and so every timing, "
            "depends on CPU credits"
        )
        yield CheckResult(
            "warning", detail, "For comparable timings, choose a size outside the B-series."
        )
    else:
        yield CheckResult("ok", "No size is burstable")


def refusals(inputs: PlanInputs, placement: Placement) -> list[str]:
    """Why Azure would refuse a VM in a placement; empty if it would not, or if unknown."""
    region, sku = inputs.regions[placement["location"]], inputs.sku(placement)
    if isinstance(region.skus, Unavailable):
        return []
    if not region.skus:
        return ["location not available to the subscription"]
    if sku is None:
        return ["size not offered in the location"]
    return [reason for wrong, reason in _conditions(inputs, placement, sku) if wrong]


def _conditions(inputs: PlanInputs, placement: Placement, sku: Body) -> Iterator[tuple[bool, str]]:
    can, location, zone = capabilities(sku), placement["location"], placement["zone"]
    closed = [one for one in sku.get("restrictions", []) if _applies(one, location, zone)]
    codes = ", ".join(sorted({one.get("reasonCode", "unknown") for one in closed}))
    yield bool(closed), f"restricted ({codes})"
    zones = _zones(sku, location)
    offered = f"only offered in zones {', '.join(sorted(zones))}" if zones else "offered in no zone"
    yield zone is not None and zone not in zones, offered
    spot = placement["priority"] == "Spot" and can.get("LowPriorityCapable") == "False"
    yield spot, "not offered as Spot"
    ephemeral = inputs.order["vm"]["ephemeral_os_disk"]
    yield (
        ephemeral and can.get("EphemeralOSDiskSupported") == "False",
        "no support for ephemeral OS disks",
    )
    disk = inputs.order["vm"]["disk_type"]
    premium = disk.lower().startswith("premium") and can.get("PremiumIO") == "False"
    yield premium, f"no support for disk_type {disk}"
    yield from _misfits(inputs.order["vm"]["image"], can)


def _misfits(image: Image, can: Mapping[str, str]) -> Iterator[tuple[bool, str]]:
    """Why the size cannot boot the image, as far as the image's names tell."""
    sku, offer = image["sku"].lower(), image["offer"].lower()
    canonical = image["publisher"].lower() == "canonical"
    for_arm = "arm64" in f"{offer} {sku}"
    architecture = can.get("CpuArchitectureType", "x64")
    yield for_arm and architecture != "Arm64", f"is {architecture}, but the image is Arm64"
    # Other publishers may offer Arm64 images without saying so.
    yield canonical and not for_arm and architecture == "Arm64", "is Arm64, but the image is x64"
    older = canonical and offer.startswith("0001-com-ubuntu-server-")
    first = "gen1" in sku or (older and "gen2" not in sku and not for_arm)
    needs_second = can.get("HyperVGenerations") == "V2" or can.get("DiskControllerTypes") == "NVMe"
    yield first and needs_second, "boots generation 2 images only, and the image is of generation 1"


def _applies(restriction: Body, location: str, zone: str | None) -> bool:
    """Whether a SKU's restriction applies. Zone restrictions do not affect regional VMs."""
    info = restriction.get("restrictionInfo", {})
    if restriction["type"] == "Zone":
        return zone is not None and zone in info.get("zones", [])
    return location in map(
        _normalised, [*restriction.get("values", []), *info.get("locations", [])]
    )


def _zones(sku: Body, location: str) -> list[str]:
    found = (i for i in sku.get("locationInfo", []) if _normalised(i["location"]) == location)
    return [zone for info in found for zone in info.get("zones", [])]


def _normalised(location: str) -> str:
    """Normalised: SKUs contain both `East US` and `eastus`."""
    return location.replace(" ", "").lower()
