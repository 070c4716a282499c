"""A fleet's state: what a LIST tells it, what it shows, and that it survives a new history."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fleet.failures import failure
from fleet.state import FleetState


def fleet_of(*states: str, **order: Any) -> FleetState:
    """A fleet with one VM in each of the given states."""
    fleet = FleetState.read(
        {
            "n_instances": len(states),
            "delete_on_complete": True,
            "deadline": "2026-01-02T00:00:00Z",
            **order,
        }
    )
    for ordinal, state in enumerate(states):
        fleet.add(
            {
                "ordinal": ordinal,
                "name": f"vm-{ordinal}",
                "created_at": "2026-01-01T00:00:00Z",
                "principal_id": "p",
                "assigned": [0],
                "settled": True,
                "refusal": None,
                "tries": 0,
                "next_try": None,
                "state": state,  # type: ignore[typeddict-item]
            }
        )
    return fleet


def states_of(fleet: FleetState) -> list[str]:
    return [machine["state"] for machine in fleet.machines.values()]


def test_a_provisioned_vm_runs():
    fleet = fleet_of("creating")
    fleet.see({"Succeeded": [0]}, {})
    assert states_of(fleet) == ["running"]


def test_a_vm_that_one_list_misses_is_not_gone_yet():
    fleet = fleet_of("running")
    fleet.see({}, {})
    assert states_of(fleet) == ["running"]


def test_a_vm_that_two_lists_miss_is_gone():
    fleet = fleet_of("running")
    fleet.see({}, {})
    fleet.see({}, {})
    assert (states_of(fleet), fleet.unreleased) == (["gone"], [0])


def test_a_vm_that_a_list_shows_again_was_never_gone():
    fleet = fleet_of("creating")
    fleet.see({}, {})
    fleet.see({"Creating": [0]}, {})
    fleet.see({}, {})
    assert states_of(fleet) == ["creating"]


def test_failed_vms_are_told():
    failed, _ = fleet_of("creating", "running").see({"Failed": [0], "Succeeded": [1]}, {})
    assert failed == [0]


def test_a_vm_that_we_did_not_know_of_is_told():
    _, strangers = fleet_of("running").see({"Succeeded": [0, 1], "Deleting": [2]}, {})
    assert strangers == [1]


def test_a_vm_that_was_given_up_holds_its_trial_until_it_is_gone():
    fleet = fleet_of("creating")
    fleet.doom([0])
    fleet.see({"Deleting": [0]}, {})
    fleet.see({}, {})
    still = list(fleet.unreleased)
    fleet.see({}, {})
    assert (still, fleet.unreleased, fleet.doomed) == ([], [0], [])


def test_a_state_of_another_release_is_read():
    document = {**fleet_of("running").write(), "of_tomorrow": 1}
    del document["machines"][0]["tries"]
    assert FleetState.read(document).machines[0]["tries"] == 0


def test_an_identity_is_learned():
    fleet = fleet_of("creating")
    fleet.machines[0]["principal_id"] = None
    fleet.see({"Creating": [0]}, {"0": ["oid", "2026-01-01T00:00:01Z"]})
    assert (fleet.machines[0]["principal_id"], fleet.unknown()) == ("oid", [])


def test_it_survives_a_new_history():
    fleet = fleet_of("running", "gone")
    fleet.note(failure("AllocationFailed", "no room", "fail_machine", "wait"), "gave it up")
    again = FleetState.read(json.loads(json.dumps(fleet.write())))
    assert again == fleet


def test_the_status_stays_small_however_large_the_fleet():
    fleet = fleet_of(*["running"] * 2000)
    for code in range(100):
        fleet.note(failure(f"Code{code}", "m" * 400, "fail_machine", "a" * 100), "gave it up")
    assert len(json.dumps(fleet.status())) < 8000  # UTF-16 doubles it; the limit is 16 KB


def test_failures_are_counted_by_code():
    fleet = fleet_of("running")
    for _ in range(3):
        fleet.note(failure("SkuNotAvailable", "text", "fail_machine", "advice"), "gave it up")
    assert fleet.status()["failures"][0]["count"] == 3


@pytest.mark.parametrize(("hour", "past"), [(23, False), (24, True)])
def test_the_deadline_is_kept(hour: int, past: bool):
    now = datetime(2026, 1, 1 + hour // 24, hour % 24, tzinfo=UTC)
    assert fleet_of("running").past_deadline(now) is past


def test_without_an_answer_trials_are_assumed_to_be_left():
    assert fleet_of("running").trials_left()
