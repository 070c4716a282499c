"""What a fleet costs, to the cent, and when its max_cost drains and ends it, on a simulated clock."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model.costs import (
    DELETION_SECONDS,
    VMS_DELETED_PER_SECOND,
    Spending,
    configured_price,
    next_step,
    price_key,
    spending,
    vm_hours,
)
from fleet.model.failure import failure
from fleet.model.state import FleetState
from orchestrators import teardown
from tests.fleets import NOW, fleet_of, later, machine, new_fleet, placement

PRICES = {
    "eastus/standard_d2s_v5": {"per_hour": 0.12, "regular": 0.12},
    "eastus/standard_d2s_v5 spot": {"per_hour": 0.03, "regular": 0.12},
    "westus/standard_d2s_v5": {"per_hour": 0.2, "regular": None},
}
TABLE = {"standard_d2s_v5": 0.1, "standard_d2s_v5 spot": 0.02, "westus2/standard_d2s_v5": 0.2}
SPOT = {"placement": placement(priority="Spot")}
EVICTED = failure("SpotEvicted", "Azure evicted it.", "move", "")
HOUR, POLL = 3600, 30


def spent(fleet: FleetState, hours: float) -> Spending | None:
    return fleet.spending(later(hours * HOUR))


def vms(*changes: dict[str, Any]) -> list[Any]:
    return [{**machine(ordinal, "running"), **one} for ordinal, one in enumerate(changes)]


@pytest.mark.parametrize(
    ("vm", "hours"),
    [
        ({}, 1.0),
        ({"state": "deleted", "deleted_at": later(1800).isoformat()}, 0.5),
        ({"state": "failed", "ended_at": later(900).isoformat()}, 1.0),
        ({"state": "refused", "created_at": ""}, 0.0),
    ],
    ids=["running", "deleted", "failed, deletion not observed", "never created"],
)
def test_a_vm_costs_from_acceptance_to_its_deletion(vm: dict[str, Any], hours: float):
    assert sum(one["vm_hours"] for one in vm_hours(vms(vm), later(HOUR))) == hours


def test_hours_are_listed_by_placement():
    assert [one["alive"] for one in vm_hours(vms({}, {}, SPOT), NOW)] == [2, 1]


def test_placements_are_equal_regardless_of_member_order():
    """PostgreSQL's jsonb does not preserve the order of members."""
    other = {"placement": dict(reversed(placement().items()))}
    assert [one["alive"] for one in vm_hours(vms({}, other), NOW)] == [2]


@pytest.mark.parametrize(
    ("where", "price"),
    [
        (placement(), (0.1, 0.1)),
        (placement("2"), (0.1, 0.1)),
        (placement(priority="Spot"), (0.02, 0.1)),
        (placement(location="westus2"), (0.2, 0.2)),
        (placement(location="westus2", priority="Spot"), (0.02, 0.2)),
        (placement(vm_size="Standard_F2s_v2"), None),
    ],
)
def test_the_most_specific_configured_price_applies(where: Any, price: Any):
    found = configured_price(where, TABLE)
    assert (found and (found["per_hour"], found["regular"])) == price


def test_a_key_is_written_as_in_the_setting():
    assert price_key(placement("3", priority="Spot")) == "eastus/standard_d2s_v5 spot"


def test_an_unknown_price_is_no_sum():
    unknown = {"placement": placement(vm_size="Standard_F2s_v2")}
    hours = vm_hours(vms({}, unknown), later(HOUR))
    assert spending(hours, PRICES) is None


@pytest.mark.parametrize(
    ("one", "saved"),
    [
        ([SPOT, {}], 0.09),
        ([{}], None),
        ([SPOT, {"placement": placement(location="westus")}], 0.09),
    ],
    ids=["a Spot VM for an hour", "no Spot VM", "a Regular VM without its own Regular price"],
)
def test_what_spot_saves_is_the_difference_to_regular_vms(one: Any, saved: float | None):
    found = spending(vm_hours(vms(*one), later(HOUR)), PRICES)
    assert found is not None
    assert found.saved_by_spot == (saved and pytest.approx(saved))


def test_evicted_vms_and_their_replacements_cost_their_own_hours():
    """Four Spot VMs. A Regular VM replaces one, which was evicted after an hour, half an hour later."""
    fleet = fleet_of(prices=PRICES)
    for ordinal in range(4):
        fleet.accept(machine(ordinal, "running", **SPOT))
    fleet.vms[0] |= {"state": "deleted", "deleted_at": later(HOUR).isoformat()}  # type: ignore[typeddict-item]
    fleet.fail_vm(0, EVICTED, later(HOUR), ran=True)
    fleet.accept(machine(4, "running", created_at=later(1.5 * HOUR).isoformat(), replaces=0))
    found = spent(fleet, 3)
    # 1 + 9 hours of Spot at 3 cents, 1.5 hours at 12 cents.
    assert found is not None
    assert (
        round(found.so_far, 9),
        round(found.per_hour, 9),
        round(found.saved_by_spot or 0, 9),
    ) == (
        0.48,
        0.21,
        0.9,
    )


def test_vms_that_azure_may_accept_at_any_moment_count_in_the_rate():
    fleet = new_fleet(2, prices=PRICES)
    fleet.demand.in_flight = fleet.demand.request([placement(), placement()])
    found = spent(fleet, 0)
    assert (found and found.so_far, found and round(found.per_hour, 9)) == (0.0, 0.24)


@pytest.mark.parametrize(
    ("so_far", "step"),
    [
        (0.0, "run"),
        (8.24, "run"),  # left after the next look: 10 - 8.24 - 0.75 > a tenth of max_cost
        (8.25, "drain"),
        (9.24, "drain"),
        (9.25, "end"),
        (11.0, "end"),
    ],
)
def test_the_reserve_is_a_tenth_of_a_small_max_cost(so_far: float, step: str):
    """At 18 dollars an hour, ten minutes cost 3 dollars, and a look with the deletions 75 cents."""
    assert next_step(Spending(so_far, 18.0, None), 10.0, POLL) == step


@pytest.mark.parametrize(("so_far", "step"), [(96.2, "run"), (96.26, "drain"), (99.3, "end")])
def test_the_reserve_is_ten_minutes_of_a_large_max_cost(so_far: float, step: str):
    assert next_step(Spending(so_far, 18.0, None), 100.0, POLL) == step


@pytest.mark.parametrize("max_cost", [0.5, 2.0, 7.31, 60.0])
def test_a_fleet_never_costs_more_than_its_max_cost(max_cost: float):
    """On a simulated clock, with an eviction and a replacement: drained, and ended while a VM of it ran.

    Its last VMs exist for as long after the end as a deletion may take.
    """
    fleet = fleet_of(
        "running", "running", "running", prices=PRICES, max_cost=max_cost, run_poll_seconds=POLL
    )
    steps, now = [], 0
    while (step := fleet.cost_step(later(now))) != "end":
        steps.append(step)
        now += POLL
        if now == 20 * POLL:
            fleet.vms[0] |= {"state": "deleted", "deleted_at": later(now).isoformat()}  # type: ignore[typeddict-item]
            fleet.accept(machine(3, "running", created_at=later(now + POLL).isoformat()))
    for vm in fleet.living_vms():
        vm["deleted_at"] = later(now + DELETION_SECONDS).isoformat()
    final = spent(fleet, 1000)
    assert final is not None
    assert sorted(steps, key=("run", "drain").index) == steps
    assert set(steps) == {"run", "drain"}
    assert max_cost - 0.02 < final.so_far <= max_cost


def test_a_large_fleet_costs_no_more_while_its_vms_are_deleted_one_after_the_other():
    fleet = fleet_of(*["running"] * 1000, prices=PRICES, max_cost=60.0, run_poll_seconds=POLL)
    now = 0
    while fleet.cost_step(later(now)) != "end":
        now += POLL
    for place, vm in enumerate(fleet.living_vms()):
        seconds = place / VMS_DELETED_PER_SECOND + DELETION_SECONDS
        vm["deleted_at"] = later(now + seconds).isoformat()
    final = spent(fleet, 1000)
    assert final is not None
    assert final.so_far <= 60.0


def test_the_teardown_deletes_as_many_vms_per_second_as_the_costs_assume():
    """It alternates VMs and role assignments."""
    assert teardown.DELETIONS_PER_POLL / teardown.POLL_SECONDS / 2 == VMS_DELETED_PER_SECOND


@pytest.mark.parametrize(
    "changes", [{"max_cost": None, "prices": PRICES}, {"max_cost": 0.01}, {"prices": PRICES}]
)
def test_without_a_limit_or_a_price_nothing_is_drained(changes: dict[str, Any]):
    fleet = fleet_of("running", run_poll_seconds=POLL, **changes)
    assert fleet.cost_step(later(1000 * HOUR)) == "run"
