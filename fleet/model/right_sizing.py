"""Whether a smaller VM size would have run a fleet's trials, from what its VMs used. Pure.

Compares sizes of one CPU and generation in Azure's series B, D and E, whose memory per vCPU is fixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from typing_extensions import TypedDict

from fleet.model.costs import PlacementHours, Prices, dollars, money, price_key
from fleet.model.records import Placement

MIN_TRIALS = 10
"""Finished trials below which there is no suggestion: the next one may be the largest."""
MARGIN = 0.8
"""Share of a smaller VM's memory and vCPUs that may be in use: samples miss short peaks."""
SHORTLIST = 3
"""Sizes whose prices are asked for."""
MIN_VCPUS = 2
GIB = 2**30
_NAME = re.compile(r"Standard_([BDE])(\d+)([ap]?)(l?)(d?s?)_(v\d+)", re.IGNORECASE)
_GIB_PER_VCPU: Mapping[tuple[str, str], int] = {
    ("D", "l"): 2, ("D", ""): 4, ("E", ""): 8, ("B", "l"): 2, ("B", ""): 4,
}  # fmt: skip
_BURSTABLE = "B"
_VISIBLE = (0.8, 1.02)
"""Memory that a VM may see, as a share of its size's: firmware and kernel take some."""
_FRACTIONS = {0.5: "half", 0.25: "a quarter of", 0.125: "an eighth of"}


class VmUse(NamedTuple):
    """A VM's hardware, and the most that it used at once while it ran trials."""

    vcpus: int
    memory_bytes: int
    used_vcpus: float
    """On average over a sample of seconds."""
    used_memory_bytes: int


class Suggestion(TypedDict):
    """A smaller VM size that would have done."""

    vm_size: str
    """As Azure names it."""
    price_per_hour: float
    """Of a VM with its OS disk."""
    instead_of: float
    """The price of the size that was used."""
    saving: float
    """The difference, as a share of `instead_of`."""


class RightSizing(TypedDict):
    """Whether a smaller VM size would have run the trials."""

    vm_size: str
    """The size with the most VM hours, of whose VMs this speaks."""
    vms: int
    """VMs that reported what they used."""
    trials: int
    """Trials that finished on them."""
    used_vcpus: float | None
    """The most vCPUs that a VM used at once; null if none reported it."""
    used_memory_bytes: int | None
    """The most memory that a VM used at once; null if none reported it."""
    suggestion: Suggestion | None
    """Null if no smaller and cheaper size would have done, or if that is unknown."""
    message: str
    """The suggestion in words, or why there is none."""


class Size(NamedTuple):
    """The parts of a VM size's name: `Standard_E4as_v5`."""

    series: str
    vcpus: int
    cpu: str
    """`a`: AMD, `p`: Arm; empty: Intel."""
    low: str
    """`l`: half the memory."""
    rest: str
    version: str

    @property
    def name(self) -> str:
        parts = f"{self.series}{self.vcpus}{self.cpu}{self.low}{self.rest}"
        return f"Standard_{parts}_{self.version}"

    @property
    def gib(self) -> int:
        return self.vcpus * _GIB_PER_VCPU[self.series, self.low]

    def smaller(self) -> list[Size]:
        """Sizes of the same generation and CPU with at most its vCPUs and memory; some may not exist."""
        found = []
        vcpus = self.vcpus
        while vcpus >= MIN_VCPUS:
            for series, low in _GIB_PER_VCPU:
                if (series == _BURSTABLE) == (self.series == _BURSTABLE):
                    found.append(self._replace(series=series, low=low, vcpus=vcpus))
            vcpus = vcpus // 2 if vcpus % 2 == 0 else 0
        return [one for one in found if one.gib <= self.gib and one != self]


class Assessment(NamedTuple):
    """The evidence, and the sizes that would have done."""

    placement: Placement
    size: Size | None
    uses: Sequence[VmUse]
    trials: int
    candidates: Sequence[Size] = ()
    """The cheapest first, as far as that is known without prices."""
    obstacle: str = ""
    """Why there is no candidate."""

    def placement_of(self, size: Size) -> Placement:
        return {**self.placement, "vm_size": size.name}


def main_placement(hours: Iterable[PlacementHours]) -> Placement | None:
    """The one of the size with the most VM hours, in any zone; None without VMs."""
    totals: dict[str, float] = {}
    placements: dict[str, Placement] = {}
    for one in hours:
        key = price_key(one["placement"])
        totals[key] = totals.get(key, 0.0) + one["vm_hours"]
        placements.setdefault(key, one["placement"])
    return placements[max(totals, key=lambda key: totals[key])] if totals else None


def assess(placement: Placement, uses: Sequence[VmUse], trials: int) -> Assessment:
    """`uses`: those of the VMs in the placement, on which `trials` have finished."""
    size = parse(placement["vm_size"])
    found = Assessment(placement, size, uses, trials)
    if size is None:
        return found._replace(obstacle=f"No size is compared with {placement['vm_size']}.")
    lacking = _lacking(size, uses, trials)
    if lacking:
        return found._replace(obstacle=f"Not enough evidence for a smaller size: {lacking}.")
    fitting = [one for one in size.smaller() if _fits(one, size, uses)]
    if not fitting:
        return found._replace(obstacle=f"No smaller size would have done: {_used(size, uses)}.")
    # A vCPU costs as much as eight GiB: a D size three quarters of the E size with as many vCPUs.
    fitting.sort(key=lambda one: (8 * one.vcpus + one.gib, one.name))
    return found._replace(candidates=fitting[:SHORTLIST])


def conclude(assessed: Assessment, prices: Prices) -> RightSizing:
    """The cheapest candidate, if it is cheaper. `prices`: those of the placement and the candidates."""
    suggestion, message = None, assessed.obstacle
    if assessed.size is not None and assessed.candidates:
        suggestion, message = _cheapest(assessed, assessed.size, prices)
    uses = assessed.uses
    return {
        "vm_size": assessed.placement["vm_size"],
        "vms": len(uses),
        "trials": assessed.trials,
        "used_vcpus": max((one.used_vcpus for one in uses), default=None),
        "used_memory_bytes": max((one.used_memory_bytes for one in uses), default=None),
        "suggestion": suggestion,
        "message": message,
    }


def parse(name: str) -> Size | None:
    """None for a size of another series."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    series, vcpus, cpu, low, rest, version = match.groups()
    size = Size(series.upper(), int(vcpus), cpu, low.lower(), rest, version)
    return size if size.vcpus and (size.series, size.low) in _GIB_PER_VCPU else None


def _lacking(size: Size, uses: Sequence[VmUse], trials: int) -> str:
    """What the evidence lacks."""
    if not uses:
        return "no VM has reported what it used"
    low, high = (share * size.gib * GIB for share in _VISIBLE)
    for one in uses:
        if one.vcpus != size.vcpus or not low <= one.memory_bytes <= high:
            hardware = f"{one.vcpus} vCPUs and {one.memory_bytes / GIB:.1f} GiB"
            return f"a VM has {hardware}, unlike {size.name}"
    if trials < MIN_TRIALS:
        return f"{trials} of {MIN_TRIALS} trials have finished"
    return ""


def _fits(candidate: Size, size: Size, uses: Sequence[VmUse]) -> bool:
    memory = max(one.used_memory_bytes for one in uses)
    vcpus = max(one.used_vcpus for one in uses)
    enough_vcpus = candidate.vcpus == size.vcpus or vcpus <= MARGIN * candidate.vcpus
    return enough_vcpus and memory <= MARGIN * candidate.gib * GIB


def _used(size: Size, uses: Sequence[VmUse]) -> str:
    memory = max(one.used_memory_bytes for one in uses) / GIB
    vcpus = max(one.used_vcpus for one in uses)
    return (
        f"the VMs used up to {memory:.1f} of {size.gib} GiB and {vcpus:.1f} of {size.vcpus} vCPUs"
    )


def _cheapest(assessed: Assessment, size: Size, prices: Prices) -> tuple[Suggestion | None, str]:
    """The suggestion, and the message."""
    now = prices.get(price_key(assessed.placement))
    found = [
        (one, prices.get(price_key(assessed.placement_of(one)))) for one in assessed.candidates
    ]
    priced = [(price["per_hour"], one) for one, price in found if price is not None]
    if now is None or not priced:
        names = ", ".join(one.name for one in assessed.candidates) if now else size.name
        return None, f"A smaller size would have done, but no price is known for {names}."
    price, best = min(priced, key=lambda one: (one[0], -one[1].gib))
    if price >= now["per_hour"]:
        return None, "No smaller size is cheaper."
    suggestion: Suggestion = {
        "vm_size": best.name,
        "price_per_hour": dollars(price),
        "instead_of": dollars(now["per_hour"]),
        "saving": round(1 - price / now["per_hour"], 4),
    }
    prices_text = (
        f"{best.name} at {money(price)} per hour rather than {size.name} at "
        f"{money(now['per_hour'])}, {suggestion['saving']:.0%} less"
    )
    text = (
        f"{_difference(size, best)} would have done: {prices_text}; {_used(size, assessed.uses)}. "
    )
    return suggestion, f"{text}Timings on different sizes are not comparable."


def _difference(size: Size, smaller: Size) -> str:
    """`Half the vCPUs and a quarter of the memory`."""
    shares = ((smaller.vcpus / size.vcpus, "vCPUs"), (smaller.gib / size.gib, "memory"))
    parts = [
        f"{_FRACTIONS.get(share, f'{share:.0%} of')} the {what}"
        for share, what in shares
        if share < 1
    ]
    text = " and ".join(parts)
    return text[:1].upper() + text[1:]
