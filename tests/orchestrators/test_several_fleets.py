"""Fleets of one principal that are created at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.shared_budget import Figures, provision
from fleet.model.observation import CLOCK_ERROR
from local.azure.faults.rate_limits import RATES
from local.stack import Stack
from tests.conftest import SETTINGS
from tests.harness import Api, eventually, experiment, wire

pytestmark = [pytest.mark.slow, pytest.mark.long]

VMS, TIMEOUT = 140, 300.0
"""They take 420 writes, and half of them more than half a burst. A fleet asks for all at once."""
WRITES_PER_SECOND = 10.0
"""In real time, which a busy machine takes too."""
TIME_SCALE, POLL_SECONDS = 0.1, 3
VM_LIST = "/Microsoft.Compute/virtualMachines"


@pytest.fixture(scope="module")
def throttling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Ten simulated seconds take one. Azure throttles."""
    state = tmp_path_factory.mktemp("throttling")
    settings = {
        **SETTINGS,
        "FLEET_BOOT_POLL_SECONDS": str(POLL_SECONDS),
        "FLEET_RUN_POLL_SECONDS": str(POLL_SECONDS),
        "FLEET_WRITES_PER_SECOND": str(WRITES_PER_SECOND),
    }
    writes = {"bucket": RATES["writes"].bucket, "per_second": WRITES_PER_SECOND * TIME_SCALE}
    with Stack(
        state,
        time_scale=TIME_SCALE,
        machines="none",
        app_settings=settings,
        faults={"throttling": {"writes": writes}},
    ) as running:
        yield running


def created(stack: Stack, *sizes: int) -> Figures:
    number = experiment(stack, trials=sum(sizes))
    figures = provision(stack, number, list(sizes), max_undead=VMS)
    for fleet_id in figures.fleet_ids:
        Api(stack).end(fleet_id, TIMEOUT)
    return figures


def test_two_fleets_are_throttled_no_more_than_one_with_all_their_vms(throttling: Stack):
    one = created(throttling, VMS)
    two = created(throttling, VMS // 2, VMS // 2)
    assert two.throttled <= one.throttled <= 1


def test_a_small_fleet_does_not_wait_for_a_large_one(throttling: Stack):
    figures = created(throttling, VMS, 3)
    assert figures.throttled <= 1
    assert figures.first < figures.makespan


def test_fleets_of_a_group_share_lists(throttling: Stack):
    """Three fleets that look every three seconds list the group every two seconds or less often."""
    api, before = Api(throttling), len(wire(throttling))
    number = experiment(throttling, trials=3)
    running = [api.start(experiment_id=number, n_instances=1) for _ in range(3)]
    for fleet_id in running:
        api.wait(fleet_id, "run")
    lists = eventually(lambda: some if len(some := lists_since(throttling, before)) > 20 else None)
    for fleet_id in running:
        api.end(fleet_id)
    in_phase_run = lists[-10:]
    assert in_phase_run[-1] - in_phase_run[0] >= 9 * (POLL_SECONDS - CLOCK_ERROR)


def lists_since(stack: Stack, before: int) -> list[float]:
    """When the VMs were listed, in real seconds."""
    calls = wire(stack)[before:]
    lists = [one for one in calls if one["method"] == "GET" and one["path"].endswith(VM_LIST)]
    return [one["at"] * TIME_SCALE for one in lists]
