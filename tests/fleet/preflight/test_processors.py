"""Whether times of trials can be compared: their order, and the VMs' processors."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model.custom_status import WARNING_CHARACTERS
from fleet.preflight.processors import documented
from tests.fleet.preflight.azure_inputs import NO_ANSWER, experiment, inputs, one, order

PAIRED = {"trial_order": "paired", "trial_seed": 3}


@pytest.mark.parametrize(
    ("asked", "read", "status"),
    [
        ({}, experiment(keeps_order=False), "ok"),
        (PAIRED, experiment(), "ok"),
        (PAIRED, experiment(keeps_order=False), "warning"),
        (PAIRED, NO_ANSWER, "unknown"),
        (PAIRED, None, "ok"),
    ],
)
def test_a_script_that_takes_trials_by_itself_keeps_no_order(
    asked: dict[str, Any], read: Any, status: str
):
    assert one(inputs(order(**asked), experiment=read), "trial_order")["status"] == status


@pytest.mark.parametrize(("groups", "wanted"), [(3, 3), (50, 10), (0, 1)])
def test_a_paired_fleet_has_a_vm_for_each_group_at_most(groups: int, wanted: int):
    seen = inputs(order(**PAIRED), experiment=experiment(open_groups=groups))
    assert seen.wanted == wanted
    assert inputs(order(), experiment=experiment(open_groups=groups)).wanted == 10


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("Standard_D2s_v5", 3),
        ("standard_d16S_V5", 3),
        ("Standard_D2ds_v5", 2),
        ("Standard_D4as_v5", 2),
        ("Standard_E8-4s_v5", 3),
        ("Standard_DS3_v2", 6),
        ("Standard_B16s_v2", 2),
        ("Standard_B2ms", 5),
        ("Standard_D2s_v6", 0),
        ("Standard_D2pds_v5", 0),
        ("Standard_NC4as_T4_v3", 0),
        ("Bogus", 0),
    ],
)
def test_series_with_several_processors_are_known(size: str, count: int):
    assert len(documented(size)) == count


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({}, "warning", "Standard_D2s_v5: Xeon Platinum 8573C, Xeon Platinum 8473C"),
        ({"vm_size": "Standard_D2s_v6"}, "ok", "Standard_D2s_v6 is not known"),
        (
            {"vm_size": "Standard_D2s_v6", "fallbacks": [{"vm_size": "Standard_D4s_v6"}]},
            "warning",
            "different processors: Standard_D2s_v6, Standard_D4s_v6",
        ),
        (
            {"cpu_models": ["8370C", "8473C"]},
            "warning",
            "A VM whose processor is not 8370C or 8473C is replaced before it takes a trial: up to 20 "
            "VMs, for about $0.00833 each",
        ),
    ],
)  # fmt: skip
def test_the_plan_says_which_processors_vms_may_have(asked: dict[str, Any], status: str, says: str):
    check = one(inputs(order(**asked)), "processors")
    assert (check["status"], says in check["detail"]) == (status, True), check


@pytest.mark.parametrize("trial_order", ["fifo", "paired"])
def test_the_warning_of_a_common_size_fits_the_status(trial_order: str):
    check = one(inputs(order(vm_size="Standard_D4s_v5", trial_order=trial_order)), "processors")
    assert len(f"{check['detail']}. {check['advice']}") <= WARNING_CHARACTERS, check
    assert ("trial_order" in check["advice"]) == (trial_order == "fifo")
