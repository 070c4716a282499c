"""Where VMs can be, and where Azure has just refused them.

A *place* is what capacity and quotas depend on: location, zone, VM size and priority. Places come in
tiers, the request's own first and then each fallback; within a tier VMs are dealt evenly over the
zones. What failed in a place holds for every VM of the fleet, with the scope and the cool-down of
the error table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict

from fleet.model.records import Failure, Machine, Order, Placement, Size


class Block(TypedDict):
    """A failure that is remembered: no VM goes where all of `match` holds, until `until`."""

    match: dict[str, Any]
    """Members of a place, and `family` or `vcpus` (that many or more) of its size."""
    code: str
    since: str
    until: str
    """ISO 8601."""
    passing: bool
    """Whether capacity comes and goes there: one VM may try it while no other place is open."""


def tiers(order: Order) -> list[list[Placement]]:
    """The places of a planned order, the most wanted tier first; each place once.

    A fallback inherits what it does not name. The request's zones hold in its own location alone:
    elsewhere a VM is put in no zone, unless the fallback names one.
    """
    home = order["location"] or ""
    asked = [{}, *order["fallbacks"]]
    seen: list[Placement] = []
    found = []
    for difference in asked:
        location = difference.get("location") or home
        named = difference.get("zone")
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


def label(placement: Placement) -> str:
    """A place in a few words: `eastus/1 Standard_D2s_v5`, with `Spot` where it is."""
    zone = f"/{placement['zone']}" if placement["zone"] else ""
    spot = " Spot" if placement["priority"] == "Spot" else ""
    return f"{placement['location']}{zone} {placement['vm_size']}{spot}"


def block(
    placement: Placement, failure: Failure, sizes: Mapping[str, Size], now: datetime
) -> Block:
    """What a failure in a place (action `move`) says about others."""
    facts = _facts(placement, sizes)
    return {
        "match": {name: facts[name] for name in failure["scope"].split()},
        "code": failure["code"],
        "since": now.isoformat(),
        "until": (now + timedelta(seconds=failure["cool_down"])).isoformat(),
        "passing": failure["passing"],
    }


def covering(
    placement: Placement, blocks: Sequence[Block], sizes: Mapping[str, Size], now: datetime
) -> list[Block]:
    """The blocks that hold in a place now."""
    facts = _facts(placement, sizes)
    return [
        one
        for one in blocks
        if now < _moment(one["until"])
        and all(_holds(name, value, facts) for name, value in one["match"].items())
    ]


def choose(
    order: Order, blocks: Sequence[Block], living: Iterable[Machine], count: int, now: datetime
) -> list[Placement]:
    """Places for `count` VMs, or for as many as there is a place for.

    The first tier with an open place serves, evenly. With none open, a place where capacity comes
    and goes gets one VM at a time, the longest untried first: should it run, the place is open.
    """
    ordered, sizes, living = tiers(order), order["sizes"], list(living)
    held = {label(p): covering(p, blocks, sizes, now) for tier in ordered for p in tier}
    load = Counter(label(machine["placement"]) for machine in living)
    for tier in ordered:
        free = [placement for placement in tier if not held[label(placement)]]
        if free:
            return [_least(free, load) for _ in range(count)]
    busy = {label(machine["placement"]) for machine in living if machine["state"] == "creating"}
    every = [placement for tier in ordered for placement in tier]
    probes = [
        placement
        for placement in every
        if label(placement) not in busy and all(one["passing"] for one in held[label(placement)])
    ]
    probes.sort(key=lambda placement: max(one["since"] for one in held[label(placement)]))
    return probes[:count]


def _least(free: Sequence[Placement], load: Counter[str]) -> Placement:
    placement = min(free, key=lambda one: load[label(one)])
    load[label(placement)] += 1
    return placement


def remember(blocks: Sequence[Block], new: Block) -> list[Block]:
    """The blocks with a new one, which takes the place of an older one of the same words."""
    others = [one for one in blocks if (one["match"], one["code"]) != (new["match"], new["code"])]
    return [*others, new]


def lifted(
    blocks: Sequence[Block], ran: Iterable[Machine], sizes: Mapping[str, Size]
) -> list[Block]:
    """The blocks without those that VMs accepted since have disproved: they run there."""
    disproved = [
        one
        for machine in ran
        for one in blocks
        if one["passing"]
        and _moment(machine["created_at"]) > _moment(one["since"])
        and one in covering(machine["placement"], blocks, sizes, _moment(one["since"]))
    ]
    return [one for one in blocks if one not in disproved]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _facts(placement: Placement, sizes: Mapping[str, Size]) -> dict[str, Any]:
    """Without knowledge of a size, the size stands for its family."""
    size = sizes.get(placement["vm_size"], {"family": placement["vm_size"], "vcpus": 0})
    return {**placement, **size}


def _holds(name: str, value: Any, facts: Mapping[str, Any]) -> bool:
    # A quota that has no room for so many vCPUs may have room for fewer.
    return bool(facts[name] >= value if name == "vcpus" else facts[name] == value)
