"""An error that other VMs would meet as well ends the fleet, unless some VM can do the work."""

from __future__ import annotations

import pytest

from fleet.model.records import ExperimentError
from fleet.model.state import FleetState
from tests.fleets import NOW, SIZE, fleet_of, order, placement

ARM = "Standard_D2ps_v5"
SIZES = {
    SIZE: {"family": "standardDSv5Family", "vcpus": 2, "architecture": "x64"},
    ARM: {"family": "standardDPSv5Family", "vcpus": 2, "architecture": "Arm64"},
}
BROKEN, UNINSTALLABLE = 78, 69
NAME = "powerlift-vm-7-0000"


def error(code: int = BROKEN, ordinal: int = 0) -> ExperimentError:
    return {"ordinal": ordinal, "exit_code": code, "message": "failed to install: no such package"}


def fleet(*states: str, fallback: str = "") -> FleetState:
    fallbacks = [{"vm_size": fallback}] if fallback else []
    return fleet_of(*states, sizes=SIZES, fallbacks=fallbacks)


@pytest.mark.parametrize(
    ("code", "fallback", "at_work", "ends_fleet", "doomed"),
    [
        (BROKEN, "", [], True, [1, 2]),
        (BROKEN, ARM, [], True, [1, 2]),
        (UNINSTALLABLE, "", [], True, [1, 2]),
        (UNINSTALLABLE, ARM, [], False, [1, 2]),  # which a CPU of the other kind may install
        (BROKEN, "", [1], False, []),
        (UNINSTALLABLE, ARM, [1], False, []),
    ],
)
def test_who_would_fail_as_well(code, fallback, at_work, ends_fleet, doomed):
    found = fleet("running", "creating", "running", fallback=fallback).fail_vm_of_experiment(
        error(code), at_work, NOW
    )
    assert found is not None
    assert (found.ends_fleet, found.doomed) == (ends_fleet, doomed)


def test_the_reason_is_the_vms_own_sentence():
    state = fleet("running", "running")
    found = state.fail_vm_of_experiment(error(), [], NOW)
    message = f"{NAME}: failed to install: no such package"
    assert found is not None
    assert (found.reason["code"], found.reason["message"]) == ("ExperimentInvalid", message)
    assert state.vms[0]["ended"] == {
        "code": "ExperimentInvalid",
        "message": message,
        "next": "ended the fleet, since every VM would fail",
    }


@pytest.mark.parametrize("code", [BROKEN, UNINSTALLABLE])
@pytest.mark.parametrize("at_work", [[], [1]])
def test_no_vm_that_would_fail_is_created(code, at_work):
    state = fleet("running", "running")
    state.demand.unrequested = 5
    state.fail_vm_of_experiment(error(code), at_work, NOW)
    assert state.placements_for(10, NOW) == []


def test_only_the_other_architecture_gets_new_vms():
    state = fleet("running", fallback=ARM)
    state.fail_vm_of_experiment(error(UNINSTALLABLE), [], NOW)
    assert state.placements_for(10, NOW) == [placement(vm_size=ARM)]


def test_a_vm_at_work_of_another_architecture_proves_nothing():
    state = fleet("running", "running", fallback=ARM)
    state.vms[1]["placement"] = placement(vm_size=ARM)
    found = state.fail_vm_of_experiment(error(UNINSTALLABLE), [1], NOW)
    assert found is not None
    assert (found.ends_fleet, found.doomed) == (False, [])
    assert state.fail_vm_of_experiment(error(UNINSTALLABLE), [1], NOW) is None  # once


def test_an_order_of_an_earlier_build_knows_no_architecture():
    state = FleetState.read(dict(order(n_instances=2)))
    state.accept(fleet_of("running").vms[0])
    found = state.fail_vm_of_experiment(error(UNINSTALLABLE), [], NOW)
    assert found is not None
    assert found.ends_fleet
