"""What keeps the cost of a VM from growing with the number of VMs."""

from __future__ import annotations

import pytest

from fleet.model.write_budget import BURST
from orchestrators.create import budget_poll_seconds, turns
from tests.fleets import NOW, fleet_of, later


@pytest.mark.parametrize(("vms", "waits"), [(0, 80), (1000, 80), (2000, 40), (5000, 16)])
def test_the_more_vms_the_shorter_the_histories(vms: int, waits: int):
    """Each step replays its history, and each of its turns passes over all VMs."""
    assert turns(fleet_of(*["running"] * vms)) == waits


@pytest.mark.parametrize(("vms", "seconds"), [(1, 2.0), (1400, 2.0), (5000, 5000 / 700)])
def test_the_write_budget_is_not_full_at_the_next_look(vms: int, seconds: float):
    fleet = fleet_of(*["running"] * vms)
    assert budget_poll_seconds(fleet, NOW) == seconds
    assert seconds * fleet.order["writes_per_second"] < BURST


def test_a_fleet_looks_again_when_it_may_ask_for_writes():
    fleet = fleet_of(*["running"] * 5000)
    fleet.writes.ask_at = later(3).isoformat()
    assert budget_poll_seconds(fleet, NOW) == 3
