"""How many VMs are wanted, and which ordinals they get."""

from __future__ import annotations

from fleet.model.demand import Demand
from tests.fleets import (
    NO_CAPACITY,
    NOW,
    UNRECOGNISED,
    failing,
    fleet_of,
    later,
    machine,
    new_fleet,
    placement,
)


def test_uncounted_trials_are_assumed_to_be_open():
    assert fleet_of("running").has_open_trials()


def test_the_retry_budget_limits_requests():
    fleet = new_fleet(1)
    fleet.demand.failed_attempts = 11
    assert fleet.demand.requests_left(1) == 0


def test_wanted_vms_are_limited_by_open_trials():
    fleet = new_fleet(10)
    fleet.accept(machine(90, "running"))
    fleet.trials = {"total": 9, "ready": 2, "running": 1, "complete": 6, "error": 0}
    assert fleet.vms_wanted() == 2


def test_a_fleet_without_open_trials_is_not_short():
    fleet = new_fleet(3)
    fleet.trials = {"total": 3, "ready": 0, "running": 0, "complete": 3, "error": 0}
    assert not fleet.is_short()


def test_a_fleet_is_short_of_a_given_up_vm():
    assert failing(new_fleet(1), UNRECOGNISED).is_short()


def test_a_request_in_flight_reserves_an_open_trial():
    fleet = new_fleet(10)
    fleet.trials = {"total": 4, "ready": 4, "running": 0, "complete": 0, "error": 0}
    fleet.demand.in_flight = fleet.demand.request([placement()])
    assert fleet.vms_wanted() == 3


def test_ordinals_are_assigned_once():
    fleet = new_fleet(3)
    requests = [*fleet.demand.request([placement("1")]), *fleet.demand.request([placement("2")])]
    assert [one["ordinal"] for one in requests] == [0, 1]


def test_an_untried_placement_gets_one_pilot():
    fleet = new_fleet(9, zones=list("123"))
    assert [one["zone"] for one in fleet.placements_for(9, NOW)] == ["1", "2", "3"]


def test_the_other_vms_wait_for_their_pilot():
    fleet = new_fleet(9, zones=list("123"))
    fleet.demand.in_flight = fleet.demand.request(fleet.placements_for(9, NOW))
    assert fleet.placements_for(6, NOW) == []


def test_after_its_pilot_a_placement_gets_the_other_vms():
    fleet = new_fleet(9, zones=list("123"))
    for one in fleet.demand.request(fleet.placements_for(9, NOW)):
        fleet.placements.mark_tried(one["placement"])
    assert len(fleet.placements_for(6, NOW)) == 6


def test_one_vm_in_flight_is_the_probe_of_a_placement_without_capacity():
    fleet = failing(new_fleet(6), NO_CAPACITY)
    fleet.placements.mark_tried(placement())
    fleet.demand.in_flight = fleet.demand.request(fleet.placements_for(5, later(1)))
    assert (len(fleet.demand.in_flight), fleet.placements_for(5, later(1))) == (1, [])


def test_vms_that_still_wait_were_requested_in_vain_so_far():
    demand = Demand(given_up={"SkuNotAvailable": 2})
    demand.replacements.append({"replaces": 0, "attempt": 1, "code": "CpuModelRefused"})
    assert demand.left_out() == {"SkuNotAvailable": 2, "CpuModelRefused": 1}
