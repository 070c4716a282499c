"""The plan as a whole, and its checks other than quotas, sizes, networks and permissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet.preflight.plan import CHECKS, LOCATION_CHECKS, evaluate
from fleet.preflight.plan_inputs import Unavailable
from fleet.store.database import DatabaseUnreachable
from tests.fleet.preflight.azure_inputs import (
    GROUP,
    IMAGE,
    NO_ANSWER,
    experiment,
    inputs,
    one,
    order,
    region,
    statuses,
)


def test_without_problems_every_check_is_ok():
    """But the size may have one of several processors."""
    found = {check["name"]: check["status"] for check in evaluate(inputs())["checks"]}
    assert (found.pop("processors"), {*found.values()}) == ("warning", {"ok"})


def test_every_check_is_documented():
    page = (Path(__file__).parents[3] / "docs" / "plan.md").read_text()
    assert [name for name in {**CHECKS, **LOCATION_CHECKS} if f"| `{name}` |" not in page] == []


def test_omitted_fields_are_resolved():
    assert evaluate(inputs())["resolved"] == {
        "location": "eastus",
        "n_instances": 10,
        "sizes": {
            "Standard_D2s_v5": {
                "family": "standardDSv5Family",
                "vcpus": 2,
                "architecture": "",
            }
        },
        "client_principal_id": None,
        "client_principal_type": "User",
        "ssh_public_key": "",
        "prices": {"eastus/standard_d2s_v5": {"per_hour": 0.1, "regular": 0.1}},
        "image": IMAGE,
    }


def test_a_fault_fails_the_fleet_with_its_code_and_advice():
    (fault,) = evaluate(inputs(trials=None))["faults"]
    assert (fault["code"], fault["action"], bool(fault["advice"])) == (
        "ExperimentNotFound",
        "fail_fleet",
        True,
    )


def test_what_could_not_be_read_is_not_a_fault():
    blind = region(skus=NO_ANSWER, usages=NO_ANSWER, network=NO_ANSWER)
    seen = inputs(
        group=NO_ANSWER,
        trials=NO_ANSWER,
        regions={"eastus": blind},
        permissions={GROUP: NO_ANSWER},
        assignments=NO_ANSWER,
        vm_role=NO_ANSWER,
    )
    plan = evaluate(seen)
    assert plan["faults"] == []
    assert {check["name"] for check in plan["checks"] if check["status"] == "unknown"} == {
        "resource_group",
        "trials",
        "permissions",
        "role_assignments",
        "vm_role",
        "sizes",
        "quota",
        "subnet",
        "addresses",
    }


def test_without_a_location_dependent_checks_are_unknown():
    seen = inputs(order(location=None), regions={})
    assert {c["name"] for c in evaluate(seen)["checks"] if c["status"] == "unknown"} == {
        "image",
        "sizes",
        "burstable",
        "processors",
        "gpu",
        "quota",
        "subnet",
        "addresses",
        "cost",
    }


def trials(ready: int, running: int = 0) -> dict[str, int]:
    return {"total": 50, "ready": ready, "running": running, "complete": 0, "error": 0}


@pytest.mark.parametrize(
    ("left", "expected", "made"),
    [
        (trials(10), "ok", 10),
        (trials(6, 4), "ok", 10),
        (trials(6), "warning", 6),
        (trials(1), "warning", 1),  # min_instances is lowered to 2 too
        (trials(0), "fault", 1),
        (None, "fault", 10),
    ],
)
def test_the_number_of_vms_is_limited_by_open_trials(left: Any, expected: str, made: int):
    seen = inputs(trials=left)
    assert (one(seen, "trials")["status"], seen.wanted) == (expected, made)


def test_an_unreachable_database_is_a_fault():
    seen = inputs(trials=Unavailable(DatabaseUnreachable("The database does not answer.")))
    assert [fault["code"] for fault in evaluate(seen)["faults"]] == ["DatabaseUnreachable"]


def test_many_other_fleets_are_cut_and_unknown_ones_stop_no_fleet():
    many = one(inputs(other_fleets=[f"fleet-{n}" for n in range(7)]), "other_fleets")
    assert many["detail"] == (
        "7 fleets already run experiment 1: fleet-0, fleet-1, fleet-2, fleet-3, fleet-4, …"
    )
    away = inputs(other_fleets=Unavailable(DatabaseUnreachable("The database does not answer.")))
    assert (statuses(away, "other_fleets"), evaluate(away)["faults"]) == (["unknown"], [])


def test_custom_data_that_is_too_large_is_a_fault():
    found = one(inputs(custom_data_fault="It is too large."), "custom_data")
    assert found["status"] == "fault"
    for filler in ("uri", "cpu_models", "FLEET_DB_ROOT_CERT"):
        assert filler in found["advice"]


def test_a_batch_with_the_runner_ids_of_another_is_rejected():
    [fault] = evaluate(inputs(conflicting_batch=7))["faults"]
    assert (fault["code"], "Batch 7" in fault["message"]) == ("RunnerIdsTaken", True)


def test_a_batch_id_that_another_deployment_uses_is_rejected():
    [fault] = evaluate(inputs(foreign_nics=["powerlift-nic-1-0000"]))["faults"]
    assert (fault["code"], "powerlift-nic-1-0000" in fault["message"]) == ("BatchIdTaken", True)


def test_what_a_script_does_not_measure_is_said():
    check = one(inputs(experiment=experiment(measures_trials=False)), "measures")
    assert (check["status"], "CPU time, memory and steal time" in check["detail"]) == ("ok", True)
