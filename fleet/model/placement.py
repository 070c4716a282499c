"""Where VMs are created, and where Azure has just refused them.

Placements come in tiers: the request's own first, then one for each fallback. Within a tier, VMs are
spread evenly over the zones. A refusal puts every placement that shares its cause in cooldown; the
error table says what they share and for how long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, NotRequired

from typing_extensions import TypedDict

from fleet.model import failure_policy
from fleet.model.demand import REGULAR
from fleet.model.records import Failure, Fallback, Order, Placement, Size, Vm


class Cooldown(TypedDict):
    """Excludes placements that match all of `match` for a while."""

    match: dict[str, object]
    """Members of a placement, and `family` or `vcpus` (that many or more) of its size."""
    code: str
    """Of the failure."""
    since: str
    until: str
    """ISO 8601, as is `since`."""
    passing: bool
    """Whether capacity fluctuates: then one VM may probe the placement while no other is open."""
    unclear: NotRequired[bool]
    """Whether it is unknown that the placement was the cause: any VM that runs there disproves it."""


class PlacementCounts(TypedDict):
    """Counts of accepted and failed VMs in one placement."""

    accepted: int
    failed: dict[str, int]
    """By code."""


@dataclass
class PlacementHistory:
    """The results of creates, by placement."""

    cooldowns: list[Cooldown] = field(default_factory=list)
    tried: list[Placement] = field(default_factory=list)
    """Where Azure has accepted or refused a VM since the last cooldown."""
    counts: dict[str, PlacementCounts] = field(default_factory=dict)
    """By label."""

    def count_accepted(self, placement: Placement) -> None:
        self._counts_of(placement)["accepted"] += 1
        self.mark_tried(placement)

    def count_failed(self, placement: Placement, code: str) -> None:
        codes = self._counts_of(placement)["failed"]
        codes[code] = codes.get(code, 0) + 1

    def mark_tried(self, placement: Placement) -> None:
        if placement not in self.tried:
            self.tried.append(placement)

    def close(
        self, placement: Placement, failure: Failure, sizes: Mapping[str, Size], now: datetime
    ) -> None:
        """Start the failure's cooldown, if it has one. After it, one VM probes the placement first."""
        if failure["scope"]:
            new = cooldown(placement, failure, sizes, now)
            self.cooldowns = add(self.cooldowns, new)
            self.tried = [one for one in self.tried if not active(one, [new], sizes, now)]

    def reopen(self, running: Iterable[Vm], sizes: Mapping[str, Size]) -> None:
        """Drop the cooldowns that running VMs disprove: as a rule, those accepted after the refusal.

        Such a VM was the pilot of its placement.
        """
        for vm in running:
            disproved = [
                one
                for one in self.cooldowns
                if one["passing"]
                and (one.get("unclear") or _time(vm["created_at"]) > _time(one["since"]))
                and active(vm["placement"], [one], sizes, _time(one["since"]))
            ]
            if disproved:
                self.cooldowns = [one for one in self.cooldowns if one not in disproved]
                self.mark_tried(vm["placement"])

    def is_surprise(
        self, vm: Vm, failure: Failure, sizes: Mapping[str, Size], now: datetime
    ) -> bool:
        """Whether a failure closes a placement that was considered open when the VM was requested."""
        if not failure_policy.closes_placement(failure):
            return False
        known = active(vm["placement"], self.cooldowns, sizes, now)
        return not any(
            one["code"] == failure["code"]
            and (not vm["created_at"] or _time(vm["created_at"]) > _time(one["since"]))
            for one in known
        )

    def _counts_of(self, placement: Placement) -> PlacementCounts:
        return self.counts.setdefault(label(placement), {"accepted": 0, "failed": {}})


def tiers(order: Order) -> list[list[Placement]]:
    """The distinct placements of a planned order, in order of preference.

    A fallback inherits the members that it does not name. The request's zones apply to its own location
    only: elsewhere VMs are regional, unless the fallback names a zone.
    """
    home = order["location"] or ""
    seen: list[Placement] = []
    found = []
    differences: list[Fallback] = [{}, *order["fallbacks"]]
    for difference in differences:
        location = difference.get("location") or home
        named = difference.get("zone")
        zones: Sequence[str | None]
        zones = [named] if named else order["zones"] if location == home else []
        tier = [
            Placement(
                location=location,
                zone=zone,
                vm_size=difference.get("vm_size") or order["vm_size"],
                priority=difference.get("priority") or order["priority"],
            )
            for zone in zones or [None]
        ]
        new = [placement for placement in tier if placement not in seen]
        seen += new
        if new:
            found.append(new)
    return found


def alternatives(order: Order) -> str:
    """What an order offers when a placement is closed: `zone`, `fallback`, both, or nothing."""
    ordered = tiers(order)
    zone, fallback = any(len(tier) > 1 for tier in ordered), len(ordered) > 1
    return " or ".join(["zone"] * zone + ["fallback"] * fallback)


def label(placement: Placement) -> str:
    """A placement in words: `eastus/1 Standard_D2s_v5`, followed by `Spot` if it is."""
    zone = f"/{placement['zone']}" if placement["zone"] else ""
    spot = " Spot" if placement["priority"] == "Spot" else ""
    return f"{placement['location']}{zone} {placement['vm_size']}{spot}"


def allows_regular(order: Order) -> bool:
    """Whether a VM of the order may have regular priority."""
    return any(one["priority"] == REGULAR for tier in tiers(order) for one in tier)


def choose(
    order: Order,
    cooldowns: Sequence[Cooldown],
    living: Iterable[Vm],
    count: int,
    now: datetime,
    *,
    only_regular: bool = False,
) -> list[Placement]:
    """Placements for up to `count` VMs.

    The first tier with an open placement is used, evenly. If none is open, placements where capacity
    fluctuates are probed by one VM each, least recently refused first.
    """
    ordered, sizes, living = tiers(order), order["sizes"], list(living)
    if not count:
        return []
    if only_regular:
        ordered = [[one for one in tier if one["priority"] == REGULAR] for tier in ordered]
    cooling = {label(p): active(p, cooldowns, sizes, now) for tier in ordered for p in tier}
    for tier in ordered:
        free = [placement for placement in tier if not cooling[label(placement)]]
        if len(free) == 1:
            return free * count
        if free:
            load = Counter([_key(vm["placement"]) for vm in living])
            return [_least_loaded(free, load) for _ in range(count)]
    probed = {label(vm["placement"]) for vm in living if vm["state"] == "creating"}
    probes = [
        placement
        for tier in ordered
        for placement in tier
        if label(placement) not in probed
        and all(one["passing"] for one in cooling[label(placement)])
    ]
    probes.sort(key=lambda placement: max(one["since"] for one in cooling[label(placement)]))
    return probes[:count]


def cooldown(
    placement: Placement, failure: Failure, sizes: Mapping[str, Size], now: datetime
) -> Cooldown:
    """The cooldown that a failure (action `move` or `unclear`) in a placement starts."""
    facts = _facts(placement, sizes)
    new: Cooldown = {
        "match": {name: facts[name] for name in failure["scope"].split()},
        "code": failure["code"],
        "since": now.isoformat(),
        "until": (now + timedelta(seconds=failure["cool_down"])).isoformat(),
        "passing": failure["passing"],
    }
    return {**new, "unclear": True} if failure_policy.is_unclear(failure) else new


def active(
    placement: Placement, cooldowns: Sequence[Cooldown], sizes: Mapping[str, Size], now: datetime
) -> list[Cooldown]:
    """The cooldowns that a placement is in now."""
    facts = _facts(placement, sizes)
    return [
        one
        for one in cooldowns
        if now < _time(one["until"])
        and all(_matches(name, value, facts) for name, value in one["match"].items())
    ]


def share_cause(
    one: Placement, other: Placement, failure: Failure, sizes: Mapping[str, Size]
) -> bool:
    """Whether a failure in one placement holds for the other as well."""
    facts = _facts(one, sizes), _facts(other, sizes)
    return all(facts[0][name] == facts[1][name] for name in failure["scope"].split())


def add(cooldowns: Sequence[Cooldown], new: Cooldown) -> list[Cooldown]:
    """The cooldowns with a new one, which replaces an older one of the same scope and code."""
    others = [
        one for one in cooldowns if (one["match"], one["code"]) != (new["match"], new["code"])
    ]
    return [*others, new]


_key = itemgetter("location", "zone", "vm_size", "priority")
"""A placement as a tuple."""


def _least_loaded(free: Sequence[Placement], load: Counter[Any]) -> Placement:
    placement = min(free, key=lambda one: load[_key(one)])
    load[_key(placement)] += 1
    return placement


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _facts(placement: Placement, sizes: Mapping[str, Size]) -> Mapping[str, Any]:
    """An unknown size is its own family."""
    size = sizes.get(placement["vm_size"], {"family": placement["vm_size"], "vcpus": 0})
    return {**placement, "architecture": "", **size}


def _matches(name: str, value: Any, facts: Mapping[str, Any]) -> bool:
    # A quota without room for so many vCPUs may have room for fewer.
    return bool(facts[name] >= value if name == "vcpus" else facts[name] == value)
