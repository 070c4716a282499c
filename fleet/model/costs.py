"""What a fleet's VMs cost: list prices, in US dollars. Pure: prices and times are arguments.

A VM costs from Azure's acceptance to the first LIST without it: what Azure bills, accurate to one
polling interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from math import floor, log10
from typing import Any, Literal, NamedTuple

from typing_extensions import TypedDict

from fleet.model.placement import label
from fleet.model.records import Placement, Price, VmRequest

HOUR = 3600.0
MAX_COST_REACHED = "MaxCostReached"
"""The code of a fleet that came close to its max_cost, and of the VMs that were idle then."""
DELETION_SECONDS = 120.0
"""How long a VM may exist after its fleet has requested its deletion."""
VMS_DELETED_PER_SECOND = 5.0
"""Requested by the teardown: of the ten deletions that Azure allows, half are role assignments."""
GRACE_SECONDS = 600.0
GRACE_SHARE = 0.1
"""A fleet that reaches its max_cost reserves the lesser of the two for the trials that run: so many
seconds, or this share of max_cost."""
DIGITS = 8
"""Decimals of an amount in a response. What a reader sees is rounded where it is shown."""

Prices = Mapping[str, Price]
"""By `price_key`."""


def price_key(placement: Placement) -> str:
    """`eastus/standard_d2s_v5 spot`: as in FLEET_PRICES. Zones have the same price."""
    spot = " Spot" if placement["priority"] == "Spot" else ""
    return f"{placement['location']}/{placement['vm_size']}{spot}".lower()


def configured_price(placement: Placement, table: Mapping[str, float]) -> Price | None:
    """The price in FLEET_PRICES: of `location/size`, else of `size`."""
    per_hour = _listed(price_key(placement), table)
    if per_hour is None:
        return None
    regular: Placement = {**placement, "priority": "Regular"}
    return {"per_hour": per_hour, "regular": _listed(price_key(regular), table)}


def _listed(key: str, table: Mapping[str, float]) -> float | None:
    return table.get(key, table.get(key.partition("/")[2]))


class PlacementHours(TypedDict):
    """The VM hours of one placement."""

    placement: Placement
    vm_hours: float
    alive: int
    """VMs that exist now."""
    ending: int
    """Those of them whose deletion was requested."""


def vm_hours(
    vms: Iterable[Mapping[str, Any]], now: datetime, requested: Iterable[VmRequest] = ()
) -> list[PlacementHours]:
    """VM hours by placement. `requested`: VMs that Azure may accept at any moment."""
    placements: dict[str, PlacementHours] = {}

    def of(placement: Placement) -> PlacementHours:
        new: PlacementHours = {"placement": placement, "vm_hours": 0.0, "alive": 0, "ending": 0}
        return placements.setdefault(label(placement), new)

    for vm in vms:
        if not vm["created_at"]:
            continue
        found, end = of(vm["placement"]), vm["deleted_at"]
        until = datetime.fromisoformat(end) if end else now
        seconds = (until - datetime.fromisoformat(vm["created_at"])).total_seconds()
        found["vm_hours"] += max(0.0, seconds) / HOUR
        found["alive"] += end is None
        found["ending"] += end is None and vm["state"] in ("failed", "deleted")
    for request in requested:
        of(request["placement"])["alive"] += 1
    return list(placements.values())


class Spending(NamedTuple):
    """In US dollars."""

    so_far: float
    per_hour: float
    """Of the VMs that exist now."""
    saved_by_spot: float | None
    """The difference to Regular VMs so far; None without Spot VMs, or without their Regular price."""
    ending_per_hour: float = 0.0
    """The part of `per_hour` of VMs whose deletion was requested."""
    alive: int = 0
    """VMs that exist now."""


def spending(hours: Iterable[PlacementHours], prices: Prices) -> Spending | None:
    """None without VMs, and if a placement has no price: a partial sum would be misleading."""
    listed = [(one, prices.get(price_key(one["placement"]))) for one in hours]
    priced = [(one, price) for one, price in listed if price is not None]
    if not priced or len(priced) < len(listed):
        return None
    spot = [(one, price) for one, price in priced if one["placement"]["priority"] == "Spot"]
    saved = [
        one["vm_hours"] * (price["regular"] - price["per_hour"])
        for one, price in spot
        if price["regular"] is not None
    ]
    return Spending(
        so_far=sum(one["vm_hours"] * price["per_hour"] for one, price in priced),
        per_hour=sum(one["alive"] * price["per_hour"] for one, price in priced),
        saved_by_spot=sum(saved) if spot and len(saved) == len(spot) else None,
        ending_per_hour=sum(one["ending"] * price["per_hour"] for one, price in priced),
        alive=sum(one["alive"] for one, _ in priced),
    )


def next_step(
    spent: Spending, max_cost: float, poll_seconds: float
) -> Literal["run", "drain", "end"]:
    """What a fleet does about its max_cost. It looks again after `poll_seconds`.

    `end`: VMs that were deleted only after the next look would exceed it. `drain`: the next look would
    leave less than the reserve in which running trials may finish.
    """
    running = spent.per_hour - spent.ending_per_hour
    ending = least_cost(spent.ending_per_hour, 0.0, 0)
    unavoidable = least_cost(running, poll_seconds, spent.alive) + ending
    left = max_cost - spent.so_far - unavoidable
    reserve = min(running * GRACE_SECONDS / HOUR, max_cost * GRACE_SHARE)
    if left <= 0:
        return "end"
    return "drain" if left <= reserve else "run"


def least_cost(per_hour: float, poll_seconds: float, vms: int) -> float:
    """What VMs cost from now if they are deleted at the next look: as if each were the last one."""
    return per_hour * (poll_seconds + vms / VMS_DELETED_PER_SECOND + DELETION_SECONDS) / HOUR


def money(amount: float) -> str:
    """`$3.42`, `$0.0211`: below a dollar three significant digits, at least cents; as in the client."""
    digits = 2
    if 0 < amount < 1:
        rounded = f"{amount:.{min(DIGITS, 2 - floor(log10(amount)))}f}".rstrip("0")
        digits = max(2, len(rounded) - 2)
    return f"${amount:,.{digits}f}"


def dollars(amount: float) -> float:
    """An amount for a response."""
    return round(amount, DIGITS)
