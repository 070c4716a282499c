"""How many VMs are wanted, and which ordinals they get."""

from __future__ import annotations

from tests.fleets import (
    UNRECOGNISED,
    failing,
    fleet_of,
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


def test_reserved_nics_do_not_count_against_the_retry_budget():
    fleet = new_fleet(3)
    before = fleet.demand.requests_left(1)
    fleet.reserve_nics("eastus", 3)
    assert fleet.demand.requests_left(1) == before


def test_no_more_vms_are_wanted_than_trials_are_open():
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


def test_a_reserved_ordinal_is_used_first_in_its_location():
    fleet = new_fleet(3)
    fleet.reserve_nics("eastus", 1)
    fleet.demand.nics_created([0])
    ordinals = [
        one["ordinal"]
        for one in fleet.demand.request([placement(location="westus2"), placement(), placement()])
    ]
    assert ordinals == [1, 0, 2]


def test_no_more_nics_are_reserved_than_vms_are_wanted():
    fleet = new_fleet(3)
    fleet.demand.request([placement()])
    assert len(fleet.reserve_nics("eastus", 20)) == 2


def test_an_unsent_request_keeps_its_nic():
    fleet = new_fleet(1)
    (request,) = fleet.demand.request([placement("1")])
    fleet.requeue(request, has_nic=True)
    assert (fleet.demand.unrequested, fleet.demand.ordinals_with_nic()) == (1, {0})
