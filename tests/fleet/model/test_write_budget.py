"""The token bucket of writes, and the NICs of the last five minutes."""

from __future__ import annotations

from fleet.model.write_budget import BURST, NICS, WriteBudget
from tests.fleets import NOW, later

RATE = 10.0


def test_a_full_bucket_affords_a_burst():
    assert WriteBudget().affords(2, RATE, NOW) == BURST // 2


def test_an_empty_bucket_affords_nothing():
    budget = WriteBudget()
    budget.spend(BURST, RATE, NOW)
    assert budget.affords(1, RATE, NOW) == 0


def test_the_bucket_refills():
    budget = WriteBudget()
    budget.spend(BURST, RATE, NOW)
    assert budget.affords(2, RATE, later(4)) == 20


def test_a_full_bucket_affords_one_item_of_any_size():
    assert WriteBudget().affords(BURST + 1, RATE, NOW) == 1


def test_a_bucket_that_is_not_full_affords_no_item_above_its_size():
    budget = WriteBudget()
    budget.spend(1, RATE, NOW)
    assert budget.affords(BURST + 1, RATE, NOW) == 0


def test_a_thousand_nics_take_more_than_five_minutes():
    """However slowly the writes are sent."""
    budget = WriteBudget()
    for second in range(0, 300, 30):
        budget.spend(0, RATE, later(second), nics=NICS // 10)
    sent_later = [budget.affords_nics(RATE, later(second)) for second in (299, 300, 330)]
    assert sent_later == [0, NICS // 10, NICS // 5]


def test_a_vm_accepted_before_an_outage_does_not_end_it():
    """Its wave may end after the wave that met the outage."""
    budget = WriteBudget(outage_since=later(10).isoformat())
    budget.end_outage(later(9).isoformat())
    assert budget.outage_since is not None
    budget.end_outage(later(11).isoformat())
    assert budget.outage_since is None
