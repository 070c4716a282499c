"""Whether the subscription's vCPU quotas have room: most refusals of Azure are theirs, and can be
foreseen (94.5 % of failed attempts: karpenter-provider-azure, design 0012).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fleet.azure.bodies import Body
from fleet.model.records import Placement, Size
from fleet.preflight.finding import Finding, room, unseen
from fleet.preflight.inventory import Missing, Survey
from fleet.preflight.sizes import refusals

_ADVICE = "Ask for more quota (portal: Quotas), or for fewer or smaller VMs, or list fallbacks."


@dataclass
class Quota:
    """One limit of one location, and what is left of it while places are filled."""

    name: str
    location: str
    limit: int
    rest: int
    seen: int
    """The rest before we took any of it."""


@dataclass
class Filling:
    """VMs dealt to the places, tier after tier, until a quota ends it."""

    survey: Survey
    left: int
    quotas: dict[tuple[str, str], Quota]
    tight: dict[str, None] = field(default_factory=dict)
    """What kept VMs out, each once."""
    unknown: dict[str, None] = field(default_factory=dict)

    def fill(self, placement: Placement) -> None:
        """Put as many VMs there as its quotas take. One that is not told takes all."""
        size = self.survey.sizes.get(placement["vm_size"])
        if size is None:
            self.unknown[f"the vCPUs of {placement['vm_size']}"] = None
            self.left = 0
            return
        charges = [
            (quota, amount) for quota, amount in self._charges(placement, size) if quota is not None
        ]
        fit = min([self.left, *(quota.rest // amount for quota, amount in charges)])
        for quota, amount in charges:
            if quota.rest // amount == fit < self.left:
                self.tight[_told(quota, amount, placement)] = None
            quota.rest -= fit * amount
        self.left -= fit

    def _charges(self, placement: Placement, size: Size) -> Iterator[tuple[Quota | None, int]]:
        for name, amount in _amounts(placement, size).items():
            quota = self.quotas.get((placement["location"], _folded(name)))
            if quota is None:
                self.unknown[f"{name} in {placement['location']}"] = None
            yield quota, amount


def quota(survey: Survey) -> Iterator[Finding]:
    """How many of the VMs fit, with the rest of a family and of a region shared by their places."""
    blind = False
    for location, region in survey.regions.items():
        if isinstance(region.usages, Missing):
            blind = True
            yield unseen(f"The quotas of {location}", region.usages)
    candidates = _candidates(survey)
    if blind or not candidates:
        return
    filling = Filling(survey, survey.wanted, _quotas(survey))
    for placement in candidates:
        if filling.left > 0:
            filling.fill(placement)
    if filling.left == 0 and filling.unknown:
        detail = f"Azure does not tell {', '.join(filling.unknown)}"
        yield Finding("unknown", detail, "See the portal: Quotas.")
        return
    why = f": {'; '.join(filling.tight)}" if filling.tight else ""
    yield room(survey, survey.wanted - filling.left, "QuotaTooSmall", why, _ADVICE)


def _candidates(survey: Survey) -> list[Placement]:
    """The places to fill, without those that the SKUs rule out. Where that is all of them, all whose
    size is known: so that a plan tells every fault at once.

    Zones share their location's quotas, so one place stands for its tier.
    """
    open_ones = [[p for p in tier if not refusals(survey, p)] for tier in survey.tiers]
    known = [[p for p in tier if survey.sku(p) is not None] for tier in survey.tiers]
    return [tier[0] for tier in (open_ones if any(open_ones) else known) if tier]


def _amounts(placement: Placement, size: Size) -> dict[str, int]:
    """What one VM takes of which quota. Spot has a pool of its own, for all families together."""
    vcpus = size["vcpus"]
    cores = (
        {"lowPriorityCores": vcpus}
        if placement["priority"] == "Spot"
        else {size["family"]: vcpus, "cores": vcpus}
    )
    return {**cores, "virtualMachines": 1}


def _quotas(survey: Survey) -> dict[tuple[str, str], Quota]:
    found = {}
    for location, region in survey.regions.items():
        for item in region.usages if not isinstance(region.usages, Missing) else []:
            found[location, _folded(item["name"]["value"])] = _read(item, location)
    return found


def _read(item: Body, location: str) -> Quota:
    limit, used = int(item["limit"]), int(item["currentValue"])
    rest = max(0, limit - used)
    return Quota(item["name"]["value"].strip(), location, limit, rest, rest)


def _told(quota: Quota, amount: int, placement: Placement) -> str:
    needs = f"a {placement['vm_size']} takes {amount}"
    return f"{quota.name} in {quota.location} has {quota.seen} of {quota.limit} left, {needs}"


def _folded(name: str) -> str:
    """The names of families carry stray spaces, and the SKUs' letter case is not the usages'."""
    return "".join(name.split()).lower()
