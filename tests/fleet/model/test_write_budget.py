"""The token bucket of writes."""

from __future__ import annotations

from fleet.model.write_budget import BURST, WriteBudget
from tests.fleets import (
    NOW,
    later,
)


def test_a_burst_is_sent_at_once():
    assert WriteBudget().spend(BURST, 10.0, NOW) == 0.0


def test_writes_beyond_the_burst_wait_for_the_refill():
    budget = WriteBudget()
    budget.spend(BURST, 10.0, NOW)
    assert budget.spend(50, 10.0, NOW) == 5.0


def test_the_bucket_refills():
    budget = WriteBudget()
    budget.spend(BURST, 10.0, NOW)
    assert budget.spend(50, 10.0, later(5)) == 0.0
