"""Azure evicts half of the Spot VMs while they run trials: every trial is measured exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import Api, existing_resources, sql
from tests.trials import SMALL_RUNNER, packages_at_hand, real_experiment

pytestmark = pytest.mark.long

VMS, TRIALS, BATCH = 6, 180, 9101
SEED = 5
"""Draws three of the six."""

EVICTIONS: list[dict[str, Any]] = [
    # Some VMs get notice in time to release their trial; some are deleted immediately.
    {"match": "-000[0-2]$", "share": 0.5, "within": [250, 600], "notice": 250},
    {"match": "-000[3-5]$", "share": 0.5, "within": [250, 600], "notice": 1},
]


@dataclass(frozen=True)
class Result:
    """The outcome of the fleet."""

    fleet: dict[str, Any]
    trials: list[tuple[bool, str | None]]
    """For each trial: whether it has ended, and its error."""
    measures: Counter[int]
    left: list[str]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    packages, state = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("evicting")
    with packages_at_hand(packages), evicting(state) as stack:
        number = real_experiment(stack, TRIALS, SMALL_RUNNER)
        api = Api(stack)
        fleet_id = api.start(
            experiment_id=number,
            n_instances=VMS,
            batch_id=BATCH,
            vm_size="Standard_D2s_v5",
            priority="Spot",
            fallbacks=[{"priority": "Regular"}],
        )
        fleet = api.wait(fleet_id, timeout=150)
        ended = "SELECT end_time IS NOT NULL, errmsg FROM trial WHERE experiment_id = %s"
        measured = """SELECT trial_id FROM measure_outcome JOIN trial ON trial.id = trial_id
                      WHERE experiment_id = %s"""
        yield Result(
            fleet,
            sql(stack, ended, number),
            Counter(trial for (trial,) in sql(stack, measured, number)),
            existing_resources(stack, BATCH),
        )


def evicting(state: Path) -> Stack:
    """A stack that evicts Spot VMs, and on which a simulated minute takes 1.2 s."""
    return Stack(state, time_scale=0.02, seed=SEED, faults={"evictions": EVICTIONS})


def test_the_fleet_completes(result: Result):
    assert result.fleet["phase"] == "done", result.fleet


def test_three_vms_are_evicted_and_reported(result: Result):
    (group,) = [one for one in result.fleet["failures"] if one["code"] == "SpotEvicted"]
    assert group["count"] == 3, result.fleet


def test_evicted_vms_are_replaced(result: Result):
    accepted = {one["placement"]: one["accepted"] for one in result.fleet["placements"]}
    assert accepted == {
        "eastus Standard_D2s_v5 Spot": VMS,
        "eastus Standard_D2s_v5": 3,
    }


def test_every_trial_is_complete(result: Result):
    assert result.trials == [(True, None)] * TRIALS


def test_every_trial_is_measured_once(result: Result):
    assert sorted(result.measures.values()) == [1] * TRIALS


def test_nothing_is_left(result: Result):
    assert result.left == []
