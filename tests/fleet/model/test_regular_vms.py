"""VMs of regular priority for trials that have lost two VMs."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model import regular_vms
from fleet.model.state import FleetState
from tests.fleets import NOW, fleet_of, machine, placement

SPOT = {"priority": "Spot"}
ALLOWED = {**SPOT, "fallbacks": [{"priority": "Regular"}]}


def fleet(
    *states: str, waiting: int, ready: int = 0, running: int = 0, **changes: Any
) -> FleetState:
    """A fleet of Spot VMs, and of trials of which some wait."""
    made = fleet_of(*states, **{**ALLOWED, **changes})
    for vm in made.vms.values():
        vm["placement"] = placement(**SPOT)
    made.observation.waiting_trials = waiting
    made.trials = {
        "total": 9, "ready": ready + waiting, "running": running, "complete": 0, "error": 0,
    }  # fmt: skip
    return made


def requested(made: FleetState) -> list[str]:
    """The priorities of the VMs that the fleet requests now."""
    regular_vms.add(made)
    return [one["priority"] for one in made.placements_for(50, NOW)]


def replacing(made: FleetState) -> FleetState:
    """One of its VMs is to be replaced."""
    made.demand.replacements.append({"replaces": 0, "attempt": 1, "code": "SpotEvicted"})
    return made


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (fleet("running", "deleted", waiting=1), ["Regular"]),
        (fleet("deleted", "deleted", waiting=1), ["Regular"]),
        (fleet("deleted", "deleted", waiting=5), ["Regular"] * 2),
        (fleet("running", "running", waiting=1, running=2), []),
        (fleet("running", "deleted", waiting=0, ready=3), []),
        (fleet("deleted", "deleted", waiting=1, **{"fallbacks": []}), []),
        (replacing(fleet("running", "deleted", waiting=1, running=1)), ["Regular"]),
        (replacing(fleet("running", "deleted", waiting=0, ready=3)), ["Spot"]),
        (replacing(fleet("deleted", "deleted", waiting=1, **{"fallbacks": []})), []),
        (replacing(fleet("deleted", "deleted", waiting=1, ready=1, **{"fallbacks": []})), ["Spot"]),
    ],
    ids=range(10),
)  # fmt: skip
def test_vms_are_requested_for_the_trials_that_wait(made: FleetState, expected: list[str]):
    assert requested(made) == expected


def test_a_regular_vm_is_not_requested_twice():
    made = fleet("deleted", "deleted", waiting=1)
    regular_vms.add(made)
    regular_vms.add(made)
    assert (made.order["n_instances"], made.demand.unrequested, made.demand.added) == (3, 1, 1)


def test_a_living_regular_vm_takes_the_trials_that_wait():
    made = fleet("deleted", "deleted", waiting=1)
    made.vms[1] = machine(1, "running")
    assert requested(made) == []


def test_the_number_of_added_vms_is_bounded():
    made, added = fleet("deleted", waiting=1), 0
    for _ in range(100):
        before = made.order["n_instances"]
        added += bool(requested(made))
        made.demand.unrequested, made.vms[0]["state"] = 0, "deleted"
        if made.order["n_instances"] == before:
            break
    assert added == 11  # one, and RETRY_MARGIN


KEPT = {"delete_on_complete": False}


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (fleet(waiting=2, **{"fallbacks": []}), "which the request does not allow"),
        (fleet("running", waiting=2, **{"fallbacks": []}), "which the request does not allow"),
        (fleet(waiting=2, ready=1, **{"fallbacks": []}), None),
        (fleet(waiting=2), None),
        (fleet(waiting=0, ready=2, **{"fallbacks": []}), None),
        (fleet("running", waiting=1, **KEPT), "no other VM is deleted (delete_on_complete)"),
        (replacing(fleet("running", waiting=1, **KEPT)), None),
    ],
    ids=range(7),
)
def test_trials_wait_in_vain_if_no_vm_can_be_created_for_them(made: FleetState, says: str | None):
    reason = regular_vms.why_in_vain(made)
    assert (reason and says) == says
    assert reason is None or str(says) in reason["message"]


def test_a_kept_spot_vm_does_not_keep_a_replacement_away():
    assert requested(replacing(fleet("running", "deleted", waiting=1, **KEPT))) == ["Regular"]
