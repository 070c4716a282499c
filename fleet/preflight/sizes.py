"""Whether Azure offers the sizes where they are wanted (the SKUs), and what they are good for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fleet.azure.bodies import Body
from fleet.model.placement import label
from fleet.model.records import Placement
from fleet.preflight.finding import Finding, unseen
from fleet.preflight.inventory import Missing, Survey, capabilities

_BURSTABLE = re.compile(r"standard_b\d", re.IGNORECASE)
_ADVICE = "Choose another vm_size, location or zones, or list fallbacks."


def offered(survey: Survey) -> Iterator[Finding]:
    """A fault where no place can take a VM, a warning where some cannot."""
    yield from (
        unseen(f"The sizes that {location} offers", region.skus)
        for location, region in survey.regions.items()
        if isinstance(region.skus, Missing)
    )
    refused = {label(placement): refusals(survey, placement) for placement in survey.placements}
    reasons = "; ".join(f"{label}: {', '.join(why)}" for label, why in refused.items() if why)
    if all(refused.values()):
        yield Finding("fault", reasons, _ADVICE, "SizeNotAvailable")
    elif reasons:
        yield Finding("warning", reasons, _ADVICE)
    elif not any(isinstance(region.skus, Missing) for region in survey.regions.values()):
        yield Finding("ok", f"Offered: {', '.join(refused)}")


def burstable(survey: Survey) -> Iterator[Finding]:
    sizes = {placement["vm_size"]: None for placement in survey.placements}
    found = [size for size in sizes if _BURSTABLE.match(size)]
    if found:
        detail = (
            f"{', '.join(found)} slows down when its CPU credits are used up: what is measured "
        )
        detail += "on it depends on what ran before"
        yield Finding("warning", detail, "For timings choose a size outside the B-series.")
    else:
        yield Finding("ok", "No size depends on CPU credits")


def refusals(survey: Survey, placement: Placement) -> list[str]:
    """Why Azure would make no VM in a place; empty where it would, or where we cannot know."""
    region, sku = survey.regions[placement["location"]], survey.sku(placement)
    if isinstance(region.skus, Missing):
        return []
    if not region.skus:
        return ["the subscription has no such location"]
    if sku is None:
        return ["the location has no such size"]
    return [reason for wrong, reason in _conditions(survey, placement, sku) if wrong]


def _conditions(survey: Survey, placement: Placement, sku: Body) -> Iterator[tuple[bool, str]]:
    can, location, zone = capabilities(sku), placement["location"], placement["zone"]
    closed = [one for one in sku.get("restrictions", []) if _holds(one, location, zone)]
    codes = ", ".join(sorted({one.get("reasonCode", "unknown") for one in closed}))
    yield bool(closed), f"restricted ({codes})"
    zones = _zones(sku, location)
    there = f"has it in zones {', '.join(sorted(zones))} only" if zones else "has it in no zone"
    yield zone is not None and zone not in zones, f"the location {there}"
    spot = placement["priority"] == "Spot" and can.get("LowPriorityCapable") == "False"
    yield spot, "not as Spot"
    ephemeral = survey.order["vm"]["ephemeral_os_disk"]
    yield ephemeral and can.get("EphemeralOSDiskSupported") == "False", "no ephemeral OS disk"


def _holds(restriction: Body, location: str, zone: str | None) -> bool:
    """Whether a restriction of a SKU applies in a place. One of zones leaves regional VMs alone."""
    info = restriction.get("restrictionInfo", {})
    if restriction["type"] == "Zone":
        return zone is not None and zone in info.get("zones", [])
    return location in map(_folded, [*restriction.get("values", []), *info.get("locations", [])])


def _zones(sku: Body, location: str) -> list[str]:
    found = (i for i in sku.get("locationInfo", []) if _folded(i["location"]) == location)
    return [zone for info in found for zone in info.get("zones", [])]


def _folded(location: str) -> str:
    """`East US` and `eastus` are one: SKUs have either."""
    return location.replace(" ", "").lower()
