"""How a LIST changes the states of a fleet's VMs."""

from __future__ import annotations

import pytest

from fleet.model.observation import SILENT_COUNTS, Observation
from tests.fleets import (
    NO_CAPACITY,
    NOW,
    failing,
    fleet_of,
    later,
    machine,
    new_fleet,
    placement,
)


def test_a_provisioned_vm_runs():
    fleet = fleet_of("creating")
    fleet.apply_list({"Succeeded": [0]}, {}, NOW)
    assert [vm["state"] for vm in fleet.vms.values()] == ["running"]


def test_a_vm_absent_from_one_list_is_not_deleted_yet():
    fleet = fleet_of("running")
    fleet.apply_list({}, {}, NOW)
    assert [vm["state"] for vm in fleet.vms.values()] == ["running"]


def test_a_vm_absent_from_two_lists_is_deleted():
    fleet = fleet_of("running")
    fleet.apply_list({}, {}, NOW)
    fleet.apply_list({}, {}, NOW)
    assert ([vm["state"] for vm in fleet.vms.values()], fleet.observation.to_clean_up) == (
        ["deleted"],
        [0],
    )


def test_absences_must_be_consecutive():
    fleet = fleet_of("creating")
    fleet.apply_list({}, {}, NOW)
    fleet.apply_list({"Creating": [0]}, {}, NOW)
    fleet.apply_list({}, {}, NOW)
    assert [vm["state"] for vm in fleet.vms.values()] == ["creating"]


def test_failed_vms_are_reported():
    seen = fleet_of("creating", "running").apply_list({"Failed": [0], "Succeeded": [1]}, {}, NOW)
    assert seen.failed == [0]


def test_an_unknown_vm_is_unwanted():
    seen = fleet_of("running").apply_list({"Succeeded": [0, 1], "Deleting": [2]}, {}, NOW)
    assert seen.unwanted == [1]


def test_a_failed_update_does_not_fail_a_running_vm():
    assert fleet_of("running").apply_list({"Failed": [0]}, {}, NOW).failed == []


def test_a_vm_whose_wave_runs_is_not_unwanted():
    fleet = new_fleet(1)
    fleet.demand.in_flight = fleet.demand.request([placement()])
    assert fleet.apply_list({"Creating": [0]}, {}, NOW).unwanted == []


def test_a_refused_vm_that_exists_is_unwanted():
    fleet = fleet_of()
    fleet.demand.unrequested = 1
    (request,) = fleet.demand.request([placement()])
    fleet.refuse(request, NO_CAPACITY, NOW)
    assert fleet.apply_list({"Creating": [0]}, {}, NOW).unwanted == [0]


def test_a_vm_deleted_before_it_ran_is_lost():
    fleet = fleet_of("creating", "running")
    fleet.apply_list({}, {}, NOW)
    assert fleet.apply_list({}, {}, NOW).vanished == [0]


def test_a_given_up_vm_is_cleaned_up_once_it_is_deleted():
    fleet = fleet_of("creating")
    fleet.mark_deleting([0])
    fleet.apply_list({"Deleting": [0]}, {}, NOW)
    fleet.apply_list({}, {}, NOW)
    still = list(fleet.observation.to_clean_up)
    fleet.apply_list({}, {}, NOW)
    assert (still, fleet.observation.to_clean_up, fleet.observation.deleting) == ([], [0], [])


def test_an_identity_is_recorded():
    fleet = fleet_of("creating")
    fleet.vms[0]["principal_id"] = None
    fleet.apply_list({"Creating": [0]}, {"0": ["oid", "2026-01-01T00:00:01Z"]}, NOW)
    assert fleet.vms[0]["principal_id"] == "oid"


def test_a_vm_that_started_reopens_its_placement():
    fleet = failing(new_fleet(2), NO_CAPACITY)
    fleet.accept(machine(5, created_at=later(60).isoformat()))
    fleet.apply_list({"Succeeded": [5], "Deleting": [0]}, {}, NOW)
    assert fleet.placements.cooldowns == []


def test_a_vm_accepted_before_the_refusal_does_not_reopen_its_placement():
    fleet = failing(new_fleet(2), NO_CAPACITY)
    fleet.accept(machine(5))
    fleet.apply_list({"Succeeded": [5], "Deleting": [0]}, {}, NOW)
    assert [one["code"] for one in fleet.placements.cooldowns] == ["AllocationFailed"]


def at(second: float | None) -> str | None:
    return None if second is None else later(second).isoformat()


@pytest.mark.parametrize(
    ("looked", "changed", "age"),
    [
        (None, None, 0),  # a new fleet: VMs may have been created before a crash
        (0, None, 4),
        (3, None, 1),
        (0, 3, 1),
        (3, 0, 1),
        (4.5, None, 0),
        (-60, None, 10),  # at most the polling interval
        (-60, -30, 10),
    ],
)
def test_a_shared_list_began_after_all_that_the_fleet_knows(
    looked: float | None, changed: float | None, age: float
):
    """With a second for the difference between the clocks of two hosts."""
    observation = Observation(looked_at=at(looked), changed_at=at(changed))
    assert observation.max_age(later(5), poll_seconds=10) == age


def test_what_a_list_shows_is_as_old_as_its_beginning():
    fleet = fleet_of("creating")
    fleet.apply_list({"Succeeded": [0]}, {}, later(9), age=4)
    assert fleet.vms[0]["running_at"] == fleet.observation.listed_at == later(5).isoformat()
    assert fleet.observation.looked_at == later(9).isoformat()


def test_a_vm_that_is_not_the_fleets_is_neither_silent_nor_done():
    """VMs may write the table of VMs, and so does whatever runs on them."""
    fleet, seen = fleet_of("running"), []
    for _ in range(SILENT_COUNTS):
        fleet.observation.apply_heartbeats(fleet.vms, [0, 7], [0, 9999])
        seen = fleet.observation.silent_vms(fleet.vms)
    assert (seen, fleet.observation.done, fleet.observation.silent) == (
        [0],
        [0],
        {"0": SILENT_COUNTS},
    )
