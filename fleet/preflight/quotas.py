"""Checks the vCPU quotas: they cause most provisioning failures (94.5 % according to
karpenter-provider-azure, design 0012), and are predictable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fleet.azure.arm_bodies import Body
from fleet.model.records import Placement, Size
from fleet.preflight.check_result import CheckResult, capacity_result, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Unavailable
from fleet.preflight.sizes import refusals

_ADVICE = (
    "Request a quota increase (Azure portal: Quotas), use fewer or smaller VMs, or add fallbacks."
)


@dataclass
class Quota:
    """One quota of one location, and what remains of it during the allocation."""

    name: str
    location: str
    limit: int
    remaining: int
    available: int
    """The remaining quota before the allocation."""


@dataclass
class QuotaAllocation:
    """Allocates VMs to placements, tier by tier, until the quotas are exhausted."""

    inputs: PlanInputs
    remaining: int
    quotas: dict[tuple[str, str], Quota]
    exhausted: dict[str, None] = field(default_factory=dict)
    """The exhausted quotas, as an ordered set of messages."""
    unknown: dict[str, None] = field(default_factory=dict)

    def allocate(self, placement: Placement) -> None:
        """Allocate as many VMs as the quotas allow. Unknown quotas are treated as unlimited."""
        size = self.inputs.sizes.get(placement["vm_size"])
        if size is None:
            self.unknown[f"the vCPUs of {placement['vm_size']}"] = None
            self.remaining = 0
            return
        charges = [
            (quota, amount) for quota, amount in self._charges(placement, size) if quota is not None
        ]
        fit = min([self.remaining, *(quota.remaining // amount for quota, amount in charges)])
        for quota, amount in charges:
            if quota.remaining // amount == fit < self.remaining:
                self.exhausted[_shortfall(quota, amount, placement)] = None
            quota.remaining -= fit * amount
        self.remaining -= fit

    def _charges(self, placement: Placement, size: Size) -> Iterator[tuple[Quota | None, int]]:
        for name, amount in _amounts(placement, size).items():
            quota = self.quotas.get((placement["location"], _normalised(name)))
            if quota is None:
                self.unknown[f"{name} in {placement['location']}"] = None
            yield quota, amount


def quota(inputs: PlanInputs) -> Iterator[CheckResult]:
    """How many VMs fit. Placements share the quotas of their family and region."""
    is_incomplete = False
    for location, region in inputs.regions.items():
        if isinstance(region.usages, Unavailable):
            is_incomplete = True
            yield unreadable(f"The quotas of {location}", region.usages)
    candidates = _candidates(inputs)
    if is_incomplete or not candidates:
        return
    allocation = QuotaAllocation(inputs, inputs.wanted, _quotas(inputs))
    for placement in candidates:
        if allocation.remaining > 0:
            allocation.allocate(placement)
    if allocation.remaining == 0 and allocation.unknown:
        detail = f"Azure does not report {', '.join(allocation.unknown)}"
        yield CheckResult("unknown", detail, "Check Quotas in the Azure portal.")
        return
    why = f": {'; '.join(allocation.exhausted)}" if allocation.exhausted else ""
    yield capacity_result(
        inputs, inputs.wanted - allocation.remaining, "QuotaTooSmall", why, _ADVICE
    )


def _candidates(inputs: PlanInputs) -> list[Placement]:
    """One placement per tier, because zones share their location's quotas.

    Excludes placements that the SKUs rule out. If that excludes all, keeps those with a known size, so
    that the plan also reports quota faults.
    """
    available = [[p for p in tier if not refusals(inputs, p)] for tier in inputs.tiers]
    known = [[p for p in tier if inputs.sku(p) is not None] for tier in inputs.tiers]
    return [tier[0] for tier in (available if any(available) else known) if tier]


def _amounts(placement: Placement, size: Size) -> dict[str, int]:
    """The quota that one VM consumes, by name. All Spot families share one quota."""
    vcpus = size["vcpus"]
    cores = (
        {"lowPriorityCores": vcpus}
        if placement["priority"] == "Spot"
        else {size["family"]: vcpus, "cores": vcpus}
    )
    return {**cores, "virtualMachines": 1}


def _quotas(inputs: PlanInputs) -> dict[tuple[str, str], Quota]:
    found = {}
    for location, region in inputs.regions.items():
        for item in region.usages if not isinstance(region.usages, Unavailable) else []:
            found[location, _normalised(item["name"]["value"])] = _read(item, location)
    return found


def _read(item: Body, location: str) -> Quota:
    limit, used = int(item["limit"]), int(item["currentValue"])
    available = max(0, limit - used)
    return Quota(item["name"]["value"].strip(), location, limit, available, available)


def _shortfall(quota: Quota, amount: int, placement: Placement) -> str:
    required = f"a {placement['vm_size']} requires {amount}"
    return (
        f"{quota.name} in {quota.location} has {quota.available} of {quota.limit} left; {required}"
    )


def _normalised(name: str) -> str:
    """Normalised: family names contain stray spaces, and SKUs and usages differ in case."""
    return "".join(name.split()).lower()
