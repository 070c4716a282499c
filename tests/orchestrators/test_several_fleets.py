"""Fleets of one principal that are created at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.shared_budget import Figures, provision
from local.stack import Stack
from tests.conftest import SETTINGS
from tests.harness import Api, experiment

pytestmark = [pytest.mark.slow, pytest.mark.long]

VMS, TIMEOUT = 120, 300.0
"""Two thirds of Azure's burst of writes create half of them. A fleet asks for all of its VMs at once."""


@pytest.fixture(scope="module")
def throttling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Ten simulated seconds take one. Azure throttles."""
    state = tmp_path_factory.mktemp("throttling")
    settings = {**SETTINGS, "FLEET_BOOT_POLL_SECONDS": "1"}
    with Stack(
        state,
        time_scale=0.1,
        machines="none",
        app_settings=settings,
        faults={"throttling": True},
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
