"""How failures change a fleet's state, and the state's serialization for `continue_as_new`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from fleet.api import progress
from fleet.api.instance_status import vm_records
from fleet.azure.error_classifier import explain
from fleet.azure.error_table import TABLE
from fleet.model.demand import MAX_ATTEMPTS
from fleet.model.failure import NOT_PROVISIONED, SPOT_EVICTED, VM_LOST, Row, failure, vm_failure
from fleet.model.failure_policy import PROBES_THAT_STOP, after_acceptance
from fleet.model.placement import choose
from fleet.model.records import Failure
from fleet.model.state import FleetState
from fleet.model.vm_list import restored
from fleet.model.write_budget import OUTAGE_TIMEOUT
from tests.fleets import (
    NO_CAPACITY,
    NOW,
    UNEXPECTED,
    UNRECOGNISED,
    failing,
    fleet_of,
    later,
    machine,
    new_fleet,
    placement,
)

OUTAGE: Failure = {**failure("ConnectionFailed", "no answer", "retry", ""), "passing": True}
BOOT_TIMEOUT = explain("OSProvisioningTimedOut", "late")
FORBIDDEN = failure("AuthorizationFailed", "no", "fail_fleet", "ask")


def together(fleet: FleetState, count: int, reason: Failure) -> FleetState:
    """Some VMs are accepted together, and all fail a minute later."""
    requests = fleet.demand.request([placement()] * count)
    for request in requests:
        fleet.accept({**machine(request["ordinal"]), **request})
    for request in requests:
        fleet.mark_deleting([request["ordinal"]])
        fleet.fail_vm(request["ordinal"], reason, later(60))
    return fleet


def test_the_state_of_another_release_is_read():
    fleet = fleet_of("running")
    document = {**fleet.write(), "of_tomorrow": 1, "machines": list(fleet.vms.values())}
    assert FleetState.read(document).vms == fleet.vms


def test_vms_of_another_release_are_restored():
    fleet = fleet_of("running", "deleted")
    assert restored(fleet.order, list(fleet.vms.values())) == list(fleet.vms.values())


def test_the_state_survives_continue_as_new():
    fleet = fleet_of("running", "deleted")
    fleet.vms[0] |= {"role_failure": FORBIDDEN, "role_tries": 2, "next_role_try": "2026-01-02"}
    fleet.failures.add(failure("AllocationFailed", "no room", "fail_vm", "wait"), "gave it up")
    again = FleetState.read(json.loads(json.dumps(fleet.write())))
    assert again == fleet


def test_the_state_of_a_vm_is_small():
    fleet = fleet_of(*["running"] * 500)
    at = dict.fromkeys(("created_at", "role_assigned_at", "running_at"), later(0.5).isoformat())
    known = {"principal_id": "p" * 36, "recorded": "running role_assigned"}
    for vm in fleet.vms.values():
        vm |= {**at, **known}  # type: ignore[typeddict-item]
    assert len(json.dumps(fleet.write())) / 500 < 350


def test_the_api_shows_every_vm_of_the_state():
    fleet = failing(fleet_of("creating", "running", "deleted"), BOOT_TIMEOUT)
    found = progress.machines(fleet.order, vm_records({"input": fleet.write()}), None)
    assert found == progress.machines(fleet.order, fleet.vms.values(), None)


@pytest.mark.parametrize(("hour", "past"), [(23, False), (24, True)])
def test_the_deadline(hour: int, past: bool):
    now = datetime(2026, 1, 1 + hour // 24, hour % 24, tzinfo=UTC)
    assert fleet_of("running").past_deadline(now) is past


def test_a_vm_without_capacity_is_replaced():
    fleet = failing(new_fleet(1), NO_CAPACITY)
    (request,) = fleet.demand.request([placement("2")])
    assert (request["ordinal"], request["replaces"], request["attempt"]) == (1, 0, 1)


def test_the_record_has_the_action():
    fleet = failing(new_fleet(1), NO_CAPACITY)
    assert fleet.vms[0]["ended"] == {
        "code": "AllocationFailed",
        "message": "Allocation failed.",
        "next": "queued a replacement VM; the request has no other placement",
    }


ZONES, FALLBACK = {"zones": ["1", "2"]}, {"fallbacks": [{"vm_size": "Standard_D4s_v5"}]}
MOVES = {
    "": {}, "zone": ZONES, "fallback": FALLBACK, "zone or fallback": {**ZONES, **FALLBACK},
}  # fmt: skip


@pytest.mark.parametrize("alternatives", [name for name in MOVES if name])
def test_the_action_names_what_the_request_offers(alternatives: str):
    fleet = failing(new_fleet(1, **MOVES[alternatives]), NO_CAPACITY)
    assert fleet.vms[0]["ended"]["next"] == f"tried the next {alternatives}"


@pytest.mark.parametrize("reason", [vm_failure("VmLost", "gone"), BOOT_TIMEOUT, UNRECOGNISED])
def test_a_failure_that_closes_no_placement_moves_no_vm(reason: Failure):
    fleet = failing(new_fleet(1, **MOVES["zone or fallback"]), reason)
    assert fleet.vms[0]["ended"]["next"] == "requested a replacement VM"


@pytest.mark.parametrize(
    "kind",
    [*TABLE, SPOT_EVICTED, VM_LOST, NOT_PROVISIONED],
    ids=lambda row: row.label or " ".join(sorted(row.codes))[:30] or row.action,
)
def test_no_text_of_a_fleet_without_alternatives_claims_one(kind: Row):
    """Advice may ask the user to add zones or fallbacks; nothing says that the app tried some."""
    reason = {**failure("Code", "text", kind.action, kind.advice), "scope": kind.scope}
    fleet = failing(new_fleet(1), reason)
    told = f"{fleet.vms[0]['ended']['next']}. {kind.advice}"
    assert re.findall(r"\b(?:next|other) (?:zone|fallback)s?|\band fallbacks", told) == []


def test_a_chain_of_replacements_is_limited():
    fleet = failing(new_fleet(1), *[NO_CAPACITY] * (MAX_ATTEMPTS + 1))
    assert (fleet.demand.replacements, fleet.demand.given_up) == ([], {"AllocationFailed": 1})


def test_failures_in_an_open_placement_are_free():
    fleet = together(new_fleet(20), 20, NO_CAPACITY)
    assert (
        fleet.demand.failed_attempts,
        {one["attempt"] for one in fleet.demand.replacements},
    ) == (0, {1})


def test_a_failure_in_a_placement_known_to_be_closed_counts():
    fleet = failing(new_fleet(1), NO_CAPACITY, NO_CAPACITY)
    assert (fleet.demand.failed_attempts, fleet.demand.replacements[0]["attempt"]) == (1, 2)


def test_losing_a_vm_that_ran_is_free():
    fleet = fleet_of("deleted")
    fleet.vms[0]["attempt"] = 5
    fleet.fail_vm(0, explain("VmLost", "deleted"), NOW, ran=True)
    assert (fleet.demand.failed_attempts, fleet.demand.replacements[0]["attempt"]) == (0, 1)


def test_a_replacement_that_fails_the_same_way_is_not_replaced():
    fleet = failing(new_fleet(5), BOOT_TIMEOUT, BOOT_TIMEOUT)
    assert (fleet.demand.replacements, fleet.demand.given_up, fleet.demand.stopped) == (
        [],
        {"OSProvisioningTimedOut": 1},
        None,
    )


def test_an_unexpected_error_gives_up_one_vm():
    fleet = failing(new_fleet(5), UNEXPECTED)
    assert (fleet.demand.replacements, fleet.demand.given_up, fleet.demand.stopped) == (
        [],
        {"ValueError": 1},
        None,
    )


def test_the_third_unexpected_error_stops_the_fleet():
    fleet = failing(new_fleet(5), *[UNEXPECTED] * 3)
    assert fleet.demand.stopped == UNEXPECTED


def test_failed_boots_stop_no_fleet_before_the_tenth():
    stopped = [together(new_fleet(20), count, BOOT_TIMEOUT).demand.stopped for count in (9, 10)]
    assert stopped == [None, BOOT_TIMEOUT]


# Errors that Azure's documentation does not list


def test_an_unrecognised_error_is_replaced_in_the_next_zone():
    fleet = failing(new_fleet(1, zones=["1", "2"]), UNRECOGNISED, zone="1")
    assert [one["zone"] for one in fleet.placements_for(1, later(2))] == ["2"]


def test_an_unrecognised_error_in_every_zone_is_replaced_with_another_size():
    fleet = new_fleet(1, zones=["1", "2"], fallbacks=[{"vm_size": "Standard_E4s_v5"}])
    for zone in ("1", "2"):
        failing(fleet, UNRECOGNISED, zone=zone)
    assert {one["vm_size"] for one in fleet.placements_for(1, later(2))} == {"Standard_E4s_v5"}


def test_unrecognised_errors_of_many_vms_at_once_stop_no_fleet():
    fleet = together(new_fleet(20), 20, UNRECOGNISED)
    assert (len(fleet.demand.replacements), fleet.demand.stopped) == (20, None)


def test_a_fleet_without_vms_stops_after_some_unrecognised_errors():
    attempts = PROBES_THAT_STOP + 1
    fleet = failing(new_fleet(5), *[UNRECOGNISED] * attempts)
    assert [fleet.demand.stopped, len(fleet.vms)] == [UNRECOGNISED, attempts]


def test_a_vm_that_runs_keeps_the_fleet_from_stopping():
    fleet = fleet_of("running")
    fleet.demand.unrequested = 5
    failing(fleet, *[UNRECOGNISED] * (PROBES_THAT_STOP + 1))
    assert fleet.demand.stopped is None


def test_an_unrecognised_error_closes_no_placement_in_which_a_vm_runs():
    fleet = fleet_of("running")
    fleet.demand.unrequested = 5
    failing(fleet, UNRECOGNISED)
    assert len(fleet.placements_for(6, later(2))) == 5


def test_the_replacements_of_a_vm_are_limited_where_others_run():
    fleet = fleet_of("running")
    fleet.demand.unrequested = 1
    failing(fleet, *[UNRECOGNISED] * MAX_ATTEMPTS)
    assert (fleet.demand.replacements, fleet.demand.given_up) == ([], {"NeverSeen": 1})


def test_a_vm_that_runs_reopens_a_placement_that_an_unrecognised_error_closed():
    fleet = fleet_of("creating")
    fleet.demand.unrequested = 5
    failing(fleet, UNRECOGNISED)  # younger than the VM that boots
    fleet.apply_list({"Succeeded": [0]}, {}, later(60))
    assert len(fleet.placements_for(6, later(60))) == 5


@pytest.mark.parametrize("code", ["VMStartTimedOut", "RetryableError", "OSProvisioningClientError"])
def test_a_fault_of_azure_at_boot_is_replaced(code: str):
    fleet = together(new_fleet(5), 5, explain(code, "Azure's fault."))
    assert (len(fleet.demand.replacements), fleet.demand.stopped) == (5, None)


def test_a_fault_of_the_fleet_stops_it_at_once():
    assert failing(new_fleet(5), FORBIDDEN).demand.stopped == FORBIDDEN


def test_a_throttled_vm_is_retried():
    fleet = new_fleet(1)
    (request,) = fleet.demand.request([placement()])
    wait = failure("TooManyRequests", "slow", "wait", "", 90.0)
    fleet.refuse(request, wait, NOW)
    assert (fleet.vms, fleet.take_retries(5), fleet.writes.paused_for(NOW)) == ({}, [request], 90.0)


def test_a_vm_is_retried_during_an_outage():
    fleet = new_fleet(1)
    (request,) = fleet.demand.request([placement()])
    fleet.refuse(request, OUTAGE, NOW)
    assert (fleet.vms, fleet.take_retries(5), fleet.writes.paused_for(NOW)) == ({}, [request], 10.0)


def test_a_long_outage_fails_the_vm():
    fleet = new_fleet(1)
    (request,) = fleet.demand.request([placement()])
    fleet.refuse(request, OUTAGE, NOW)
    fleet.refuse(request, OUTAGE, later(OUTAGE_TIMEOUT.total_seconds() + 1))
    assert fleet.vms[0]["ended"]["code"] == "ConnectionFailed"  # type: ignore[index]


def test_a_placement_needs_a_pilot_after_its_cooldown():
    fleet = failing(new_fleet(2), NO_CAPACITY)
    assert fleet.placements.tried == []


def test_a_closed_placement_is_probed_by_one_vm():
    fleet = failing(new_fleet(5), NO_CAPACITY)
    assert len(choose(fleet.order, fleet.placements.cooldowns, fleet.living_vms(), 5, NOW)) == 1


@pytest.mark.parametrize("boot", [120, 620, 1200, 1790])
def test_unclear_failures_at_boot_stop_the_creation_however_late_they_are(boot: float):
    """A probe that fails after the cooldown would count as the first failure there, again and again."""
    fleet, now = new_fleet(20), 0.0
    while not fleet.demand.stopped and len(fleet.vms) < 100:
        requests = fleet.demand.request(fleet.placements_for(20, later(now)))
        for request in requests:
            fleet.accept(machine(request["ordinal"], created_at=later(now + 5).isoformat()))
        now += boot if requests else 60.0
        fleet.mark_deleting(request["ordinal"] for request in requests)
        for request in requests:
            fleet.fail_vm(request["ordinal"], after_acceptance(UNRECOGNISED), later(now))
    assert (fleet.demand.stopped is not None, len(fleet.vms) <= 30) == (True, True)
