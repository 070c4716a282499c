"""Checks that the VM sizes are offered in their locations, take image and disk, and suit timings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from fleet.azure.arm_bodies import Body
from fleet.model.names import region_of
from fleet.model.placement import label
from fleet.model.records import Placement
from fleet.preflight import images
from fleet.preflight.check_result import CheckResult, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Unavailable, capabilities

_BURSTABLE = re.compile(r"standard_b\d", re.IGNORECASE)
_LISTED = re.compile("supported locations are '([^']*)'")
"""In Azure's NoRegisteredProviderFound, of a usage in a location that does not exist."""
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
        given = placement["location"]
        others = [one for one in _locations(region.usages) if one != given]
        hint = _did_you_mean(given, others)
        return [f"location not available to the subscription{hint}"]
    if sku is None:
        return [f"size not offered in the location{_similar(region.skus, placement['vm_size'])}"]
    found = [reason for wrong, reason in _conditions(inputs, placement, sku) if wrong]
    return [*found, *images.refusals(inputs.order["vm"], region.image, sku)]


def _similar(skus: Iterable[Body], size: str) -> str:
    """The names of sizes that the user may have meant."""
    is_complete = size.lower().startswith("standard_")
    return _did_you_mean(size if is_complete else f"Standard_{size}", (sku["name"] for sku in skus))


def _locations(usages: object) -> list[str]:
    """The locations that Azure's error for an unknown one lists; empty without such an error."""
    found = _LISTED.search(str(usages.error)) if isinstance(usages, Unavailable) else None
    return [region_of(one) for one in found[1].split(",")] if found else []


def _did_you_mean(given: str, known: Iterable[str]) -> str:
    spelled = {one.lower(): one for one in known}
    close = get_close_matches(given.lower(), spelled, n=2, cutoff=0.75)
    names = " or ".join(spelled[one] for one in close)
    return f" (did you mean {names}?)" if names else ""


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


def _applies(restriction: Body, location: str, zone: str | None) -> bool:
    """Whether a SKU's restriction applies. Zone restrictions do not affect regional VMs."""
    info = restriction.get("restrictionInfo", {})
    if restriction["type"] == "Zone":
        return zone is not None and zone in info.get("zones", [])
    return location in map(region_of, [*restriction.get("values", []), *info.get("locations", [])])


def _zones(sku: Body, location: str) -> list[str]:
    found = (i for i in sku.get("locationInfo", []) if region_of(i["location"]) == location)
    return [zone for info in found for zone in info.get("zones", [])]
