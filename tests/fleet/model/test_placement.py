"""Placements: their order of preference, and how a failure in one affects others."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.azure.error_classifier import explain
from fleet.model.placement import Cooldown, add, choose, cooldown, label, tiers
from fleet.model.records import Placement
from tests.fleets import NOW, SIZE, later, machine, order, placement

ZONES = ["1", "2", "3"]
BIG = "Standard_D4s_v5"
SIZES = {
    SIZE: {"family": "standardDSv5Family", "vcpus": 2},
    BIG: {"family": "standardDSv5Family", "vcpus": 4},
    "Standard_D1": {"family": "standardDSv5Family", "vcpus": 1},
    "Standard_F2s_v2": {"family": "standardFSv2Family", "vcpus": 2},
}
QUOTA = "Operation could not be completed as it results in exceeding approved {} quota. {}"
FAMILY = QUOTA.format("standardDSv5Family Cores", "{}")
REGION = QUOTA.format("Total Regional Cores", "Current Limit: 4")


def after(code: str, where: Placement, text: str = "", **changes: Any) -> list[Cooldown]:
    return [cooldown(where, explain(code, text), SIZES, NOW)]  # type: ignore[arg-type]


def open_ones(cooldowns: list[Cooldown], count: int = 1, **changes: Any) -> list[str]:
    requested = order(sizes=SIZES, **changes)
    return [label(one) for one in choose(requested, cooldowns, [], count, NOW)]


def test_zones_come_first_then_the_fallbacks_in_their_order():
    fallbacks = [{"vm_size": BIG}, {"location": "westus2"}, {"zone": "2", "priority": "Spot"}]
    found = [
        [label(one) for one in tier] for tier in tiers(order(zones=["1", "2"], fallbacks=fallbacks))
    ]
    assert found == [
        [f"eastus/1 {SIZE}", f"eastus/2 {SIZE}"],
        [f"eastus/1 {BIG}", f"eastus/2 {BIG}"],
        [f"westus2 {SIZE}"],
        [f"eastus/2 {SIZE} Spot"],
    ]


def test_placements_are_distinct():
    requested = order(zones=["1"], fallbacks=[{"zone": "1"}, {"zone": "2"}, {"location": "eastus"}])
    assert [[one["zone"] for one in tier] for tier in tiers(requested)] == [["1"], ["2"]]


def test_vms_are_spread_evenly_over_the_zones():
    living = [machine(0, placement=placement("1")), machine(1, placement=placement("1"))]
    chosen = choose(order(zones=ZONES), [], living, 4, NOW)
    assert sorted(str(one["zone"]) for one in chosen) == ["2", "2", "3", "3"]


def test_the_size_changes_only_if_a_fallback_names_one():
    cooldowns = after("SkuNotAvailable", placement())
    assert open_ones(cooldowns) == []


def test_a_fallback_is_used_when_the_first_placement_is_closed():
    cooldowns = after("SkuNotAvailable", placement())
    assert open_ones(cooldowns, fallbacks=[{"vm_size": "Standard_F2s_v2"}]) == [
        "eastus Standard_F2s_v2"
    ]


@pytest.mark.parametrize(
    ("code", "text", "still_open"),
    [
        ("SkuNotAvailable", "", "2 3 big small other west spot"),
        ("NotAvailableForSubscription", "", "2 3 big small other west"),
        ("ZonalAllocationFailed", "", "2 3 big small other west"),
        ("OverconstrainedZonalAllocationRequest", "", "2 3 big small other west spot"),
        ("OverconstrainedAllocationRequest", "", "big small other west spot"),
        ("OperationNotAllowed", FAMILY.format("Current Limit: 4"), "small other west spot"),
        ("OperationNotAllowed", FAMILY.format("Current Limit: 0"), "other west spot"),
        ("OperationNotAllowed", REGION, "west spot"),
        ("SubnetIsFull", "", "west"),
    ],
)
def test_a_failure_closes_what_shares_its_cause(code: str, text: str, still_open: str):
    others = {
        "2": placement("2"),
        "3": placement("3"),
        "big": placement("1", vm_size=BIG),
        "small": placement("1", vm_size="Standard_D1"),
        "other": placement("1", vm_size="Standard_F2s_v2"),
        "west": placement("1", location="westus2"),
        "spot": placement("1", priority="Spot"),
    }
    cooldowns = after(code, placement("1"), text)
    found = {
        name
        for name, one in others.items()
        if choose(
            order(zones=[one["zone"]], location=one["location"], vm_size=one["vm_size"],
                  priority=one["priority"], sizes=SIZES),
            [{**each, "passing": False} for each in cooldowns], [], 1, NOW,
        )
    }  # fmt: skip
    assert found == set(still_open.split())


def test_a_placement_is_open_again_after_its_cooldown():
    cooldowns = after("SkuNotAvailable", placement())
    chosen = choose(order(), cooldowns, [], 1, later(3600))
    assert [label(one) for one in chosen] == [f"eastus {SIZE}"]


def test_a_repeated_failure_replaces_its_cooldown():
    (first,), (second,) = (
        after("SkuNotAvailable", placement()),
        after("SkuNotAvailable", placement()),
    )
    assert add([first], second) == [second]


def test_if_all_are_closed_the_least_recently_refused_is_probed_first():
    cooldowns = [
        cooldown(placement(zone), explain("ZonalAllocationFailed", ""), {}, later(at))
        for zone, at in (("1", 20), ("2", 10), ("3", 30))
    ]
    requested = order(zones=ZONES)
    assert [one["zone"] for one in choose(requested, cooldowns, [], 2, later(40))] == ["2", "1"]


def test_a_placement_is_probed_by_one_vm_at_a_time():
    cooldowns = after("ZonalAllocationFailed", placement("1"))
    living = [machine(0, placement=placement("1"))]
    assert choose(order(zones=["1"], sizes=SIZES), cooldowns, living, 5, NOW) == []


def test_a_placement_without_quota_is_not_probed():
    cooldowns = after("OperationNotAllowed", placement(), REGION)
    assert open_ones(cooldowns, 5) == []
