"""A fleet's state: what a LIST tells it, what it shows, and that it survives a new history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fleet.azure.errors import explain
from fleet.model.demand import MAX_ATTEMPTS
from fleet.model.failure import failure
from fleet.model.placement import choose
from fleet.model.records import Failure
from fleet.model.state import FleetState
from fleet.model.status import custom_status, missing
from fleet.model.write_budget import BURST, OUTAGE_TIMEOUT, WriteBudget
from tests.fleets import NOW, fleet_of, later, machine, order, placement

NO_ANSWER: Failure = {**failure("ConnectionFailed", "no answer", "retry", ""), "passing": True}
NO_ROOM = explain("AllocationFailed", "Allocation failed.")
UNKNOWN = explain("NeverSeen", "?")
SLOW = explain("OSProvisioningTimedOut", "late")
FORBIDDEN = failure("AuthorizationFailed", "no", "fail_fleet", "ask")


def wanting(count: int, **changes: Any) -> FleetState:
    """A fleet that has asked for none of its VMs yet."""
    return FleetState.read(dict(order(n_instances=count, **changes)))


def failing(fleet: FleetState, *reasons: Failure) -> FleetState:
    """One VM after the other is accepted and fails a second later, each in the stead of the last."""
    for turn, reason in enumerate(reasons):
        (request,) = fleet.demand.request([placement()])
        made = {"created_at": later(turn + 0.5).isoformat()}
        fleet.accept({**machine(request["ordinal"]), **request, **made})
        fleet.mark_deleting([request["ordinal"]])
        fleet.fail_vm(request["ordinal"], reason, later(turn + 1))
    return fleet


def together(fleet: FleetState, count: int, reason: Failure) -> FleetState:
    """Some VMs are accepted at once, and all fail a minute later."""
    requests = fleet.demand.request([placement()] * count)
    for request in requests:
        fleet.accept({**machine(request["ordinal"]), **request})
    for request in requests:
        fleet.mark_deleting([request["ordinal"]])
        fleet.fail_vm(request["ordinal"], reason, later(60))
    return fleet


def states_of(fleet: FleetState) -> list[str]:
    return [machine["state"] for machine in fleet.vms.values()]


def test_a_provisioned_vm_runs():
    fleet = fleet_of("creating")
    fleet.apply_list({"Succeeded": [0]}, {}, NOW)
    assert states_of(fleet) == ["running"]


def test_a_vm_that_one_list_misses_is_not_gone_yet():
    fleet = fleet_of("running")
    fleet.apply_list({}, {}, NOW)
    assert states_of(fleet) == ["running"]


def test_a_vm_that_two_lists_miss_is_gone():
    fleet = fleet_of("running")
    fleet.apply_list({}, {}, NOW)
    fleet.apply_list({}, {}, NOW)
    assert (states_of(fleet), fleet.observation.to_clean_up) == (["deleted"], [0])


def test_a_vm_that_a_list_shows_again_was_never_gone():
    fleet = fleet_of("creating")
    fleet.apply_list({}, {}, NOW)
    fleet.apply_list({"Creating": [0]}, {}, NOW)
    fleet.apply_list({}, {}, NOW)
    assert states_of(fleet) == ["creating"]


def test_failed_vms_are_told():
    seen = fleet_of("creating", "running").apply_list({"Failed": [0], "Succeeded": [1]}, {}, NOW)
    assert seen.failed == [0]


def test_a_vm_that_we_did_not_know_of_is_told():
    seen = fleet_of("running").apply_list({"Succeeded": [0, 1], "Deleting": [2]}, {}, NOW)
    assert seen.unwanted == [1]


def test_a_vm_that_runs_is_not_failed_by_an_update():
    assert fleet_of("running").apply_list({"Failed": [0]}, {}, NOW).failed == []


def test_a_vm_that_was_refused_and_is_there_all_the_same_is_unwanted():
    fleet = fleet_of()
    fleet.demand.unrequested = 1
    (request,) = fleet.demand.request([placement()])
    fleet.refuse(request, NO_ROOM, NOW)
    assert fleet.apply_list({"Creating": [0]}, {}, NOW).unwanted == [0]


def test_a_vm_that_went_before_it_ran_has_vanished():
    fleet = fleet_of("creating", "running")
    fleet.apply_list({}, {}, NOW)
    assert fleet.apply_list({}, {}, NOW).vanished == [0]


def test_a_vm_that_was_given_up_holds_its_trial_until_it_is_gone():
    fleet = fleet_of("creating")
    fleet.mark_deleting([0])
    fleet.apply_list({"Deleting": [0]}, {}, NOW)
    fleet.apply_list({}, {}, NOW)
    still = list(fleet.observation.to_clean_up)
    fleet.apply_list({}, {}, NOW)
    assert (still, fleet.observation.to_clean_up, fleet.observation.deleting) == ([], [0], [])


def test_a_state_of_another_release_is_read():
    document = {**fleet_of("running").write(), "of_tomorrow": 1}
    del document["machines"][0]["role_tries"]
    assert FleetState.read(document).vms[0]["role_tries"] == 0


def test_an_identity_is_learned():
    fleet = fleet_of("creating")
    fleet.vms[0]["principal_id"] = None
    fleet.apply_list({"Creating": [0]}, {"0": ["oid", "2026-01-01T00:00:01Z"]}, NOW)
    assert fleet.vms[0]["principal_id"] == "oid"


def test_it_survives_a_new_history():
    fleet = fleet_of("running", "deleted")
    fleet.failures.add(failure("AllocationFailed", "no room", "fail_machine", "wait"), "gave it up")
    again = FleetState.read(json.loads(json.dumps(fleet.write())))
    assert again == fleet


def test_the_status_stays_small_however_large_the_fleet():
    fleet = fleet_of(*["running"] * 2000)
    for code in range(100):
        fleet.failures.add(
            failure(f"Code{code}", "m" * 400, "fail_machine", "a" * 100), "gave it up"
        )
    assert len(json.dumps(custom_status(fleet))) < 8000  # UTF-16 doubles it; the limit is 16 KB


def test_failures_are_counted_by_code():
    fleet = fleet_of("running")
    for _ in range(3):
        fleet.failures.add(
            failure("SkuNotAvailable", "text", "fail_machine", "advice"), "gave it up"
        )
    assert custom_status(fleet)["failures"][0]["count"] == 3


@pytest.mark.parametrize(("hour", "past"), [(23, False), (24, True)])
def test_the_deadline_is_kept(hour: int, past: bool):
    now = datetime(2026, 1, 1 + hour // 24, hour % 24, tzinfo=UTC)
    assert fleet_of("running").past_deadline(now) is past


def test_without_an_answer_trials_are_assumed_to_be_left():
    assert fleet_of("running").has_open_trials()


# What follows a failure


def test_a_vm_stands_in_for_one_that_found_no_room():
    fleet = failing(wanting(1), NO_ROOM)
    (request,) = fleet.demand.request([placement("2")])
    assert (request["ordinal"], request["replaces"], request["attempt"]) == (1, 0, 1)


def test_what_was_done_is_kept_in_the_record():
    fleet = failing(wanting(1), NO_ROOM)
    assert fleet.vms[0]["ended"] == {
        "code": "AllocationFailed",
        "message": "Allocation failed.",
        "next": "tried the next zone or fallback",
    }


def test_a_line_of_replacements_has_an_end():
    fleet = failing(wanting(1), *[NO_ROOM] * (MAX_ATTEMPTS + 1))
    assert (fleet.demand.replacements, fleet.demand.given_up) == ([], {"AllocationFailed": 1})


def test_a_fleet_has_a_budget():
    fleet = wanting(1)
    fleet.demand.failed_attempts = 11
    assert fleet.demand.requests_left(1) == 0


def test_what_a_fleet_could_not_know_costs_it_nothing():
    fleet = together(wanting(20), 20, NO_ROOM)
    assert (
        fleet.demand.failed_attempts,
        {one["attempt"] for one in fleet.demand.replacements},
    ) == (0, {1})


def test_what_it_could_have_known_does():
    fleet = failing(wanting(1), NO_ROOM, NO_ROOM)
    assert (fleet.demand.failed_attempts, fleet.demand.replacements[0]["attempt"]) == (1, 2)


def test_a_vm_that_ran_and_was_lost_costs_nothing():
    fleet = fleet_of("deleted")
    fleet.vms[0]["attempt"] = 5
    fleet.fail_vm(0, explain("VmLost", "deleted"), NOW, ran=True)
    assert (fleet.demand.failed_attempts, fleet.demand.replacements[0]["attempt"]) == (0, 1)


def test_nics_that_were_only_prepared_cost_nothing():
    fleet = wanting(3)
    before = fleet.demand.requests_left(1)
    fleet.reserve_nics("eastus", 3)
    assert fleet.demand.requests_left(1) == before


def test_the_same_fault_of_the_vm_twice_in_a_line_is_its_end():
    fleet = failing(wanting(5), SLOW, SLOW)
    assert (fleet.demand.replacements, fleet.demand.given_up, fleet.demand.stopped) == (
        [],
        {"OSProvisioningTimedOut": 1},
        None,
    )


def test_an_unknown_fault_is_the_end_of_one_vm():
    fleet = failing(wanting(5), UNKNOWN)
    assert (fleet.demand.replacements, fleet.demand.given_up, fleet.demand.stopped) == (
        [],
        {"NeverSeen": 1},
        None,
    )


def test_an_unknown_fault_for_the_third_time_stops_the_fleet_from_asking():
    fleet = failing(wanting(5), *[UNKNOWN] * 3)
    assert fleet.demand.stopped == UNKNOWN


def test_a_fault_of_the_whole_fleet_stops_it_at_once():
    assert failing(wanting(5), FORBIDDEN).demand.stopped == FORBIDDEN


def test_every_vm_that_is_missing_is_explained():
    fleet = failing(wanting(9), UNKNOWN, NO_ROOM, NO_ROOM, FORBIDDEN)
    fleet.phase = "run"
    assert (missing(fleet), len(fleet.living_vms())) == (
        {"NeverSeen": 1, "AuthorizationFailed": 8},
        0,
    )


def test_throttling_is_no_failure_of_a_vm():
    fleet = wanting(1)
    (request,) = fleet.demand.request([placement()])
    wait = failure("TooManyRequests", "slow", "wait", "", 90.0)
    fleet.refuse(request, wait, NOW)
    assert (fleet.vms, fleet.take_retries(5), fleet.writes.paused_for(NOW)) == ({}, [request], 90.0)


def test_a_fault_of_azures_is_none_of_a_vm_either():
    fleet = wanting(1)
    (request,) = fleet.demand.request([placement()])
    fleet.refuse(request, NO_ANSWER, NOW)
    assert (fleet.vms, fleet.take_retries(5), fleet.writes.paused_for(NOW)) == ({}, [request], 10.0)


def test_unless_it_goes_on_and_on():
    fleet = wanting(1)
    (request,) = fleet.demand.request([placement()])
    fleet.refuse(request, NO_ANSWER, NOW)
    fleet.refuse(request, NO_ANSWER, later(OUTAGE_TIMEOUT.total_seconds() + 1))
    assert fleet.vms[0]["ended"]["code"] == "ConnectionFailed"  # type: ignore[index]


def test_after_a_cool_down_one_vm_goes_first_again():
    fleet = failing(wanting(2), NO_ROOM)
    assert fleet.placements.tried == []


def test_no_more_vms_are_asked_for_than_trials_are_open():
    fleet = wanting(10)
    fleet.accept(machine(90, "running"))
    fleet.trials = {"total": 9, "ready": 2, "running": 1, "complete": 6, "error": 0}
    assert fleet.vms_wanted() == 2


def test_a_fleet_is_not_short_of_vms_that_no_trial_is_left_for():
    fleet = wanting(3)
    fleet.trials = {"total": 3, "ready": 0, "running": 0, "complete": 3, "error": 0}
    assert not fleet.is_short()


def test_a_fleet_is_short_of_a_vm_that_was_given_up():
    assert failing(wanting(1), UNKNOWN).is_short()


# NICs ahead of their VMs


def test_an_ordinal_with_a_nic_is_used_first_in_its_location_only():
    fleet = wanting(3)
    fleet.reserve_nics("eastus", 1)
    fleet.demand.nics_created([0])
    ordinals = [
        one["ordinal"]
        for one in fleet.demand.request([placement(location="westus2"), placement(), placement()])
    ]
    assert ordinals == [1, 0, 2]


def test_no_more_nics_are_prepared_than_vms_are_wanted():
    fleet = wanting(3)
    fleet.demand.request([placement()])
    assert len(fleet.reserve_nics("eastus", 20)) == 2


def test_an_request_that_was_not_sent_keeps_its_nic():
    fleet = wanting(1)
    (request,) = fleet.demand.request([placement("1")])
    fleet.requeue(request, has_nic=True)
    assert (fleet.demand.unrequested, fleet.demand.ordinals_with_nic()) == (1, {0})


# Azure's pace


def test_what_fits_into_the_bucket_waits_for_nothing():
    assert WriteBudget().spend(BURST, 10.0, NOW) == 0.0


def test_what_does_not_fit_waits_until_it_does():
    budget = WriteBudget()
    budget.spend(BURST, 10.0, NOW)
    assert budget.spend(50, 10.0, NOW) == 5.0


def test_the_bucket_fills_again():
    budget = WriteBudget()
    budget.spend(BURST, 10.0, NOW)
    assert budget.spend(50, 10.0, later(5)) == 0.0


# Places


def test_a_vm_that_came_to_run_reopens_its_place():
    fleet = failing(wanting(2), NO_ROOM)
    fleet.accept(machine(5, created_at=later(60).isoformat()))
    fleet.apply_list({"Succeeded": [5], "Deleting": [0]}, {}, NOW)
    assert fleet.placements.cooldowns == []


def test_one_that_was_accepted_before_does_not():
    fleet = failing(wanting(2), NO_ROOM)
    fleet.accept(machine(5))
    fleet.apply_list({"Succeeded": [5], "Deleting": [0]}, {}, NOW)
    assert [one["code"] for one in fleet.placements.cooldowns] == ["AllocationFailed"]


def test_the_status_tells_attempts_by_place_and_code():
    fleet = failing(wanting(2), NO_ROOM, NO_ROOM)
    assert custom_status(fleet)["placements"] == [
        {"placement": "eastus Standard_D2s_v5", "accepted": 2, "failed": {"AllocationFailed": 2}}
    ]


def test_a_place_where_capacity_comes_and_goes_is_tried_by_one_vm_at_a_time():
    fleet = failing(wanting(5), NO_ROOM)
    assert len(choose(fleet.order, fleet.placements.cooldowns, fleet.living_vms(), 5, NOW)) == 1
