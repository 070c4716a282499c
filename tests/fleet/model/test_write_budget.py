"""The token bucket of writes, the NICs of the last five minutes, and a fair share."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from fleet.model.write_budget import (
    BURST,
    NIC_WINDOW,
    NICS,
    Ask,
    Claim,
    WriteBudget,
    fair_share,
    writes_per_vm,
)
from tests.fleets import NOW, later, order

ORDER = order()
PER_VM = writes_per_vm(ORDER)
BURST_VMS = BURST // PER_VM
_ids = count()


def ask(vms: int = 0, **changes: Any) -> Ask:
    usual = {"id": str(next(_ids)), "roles": 0, "vms": vms, "least": 1, "pause": 0.0}
    return {**usual, **changes}  # type: ignore[typeddict-item]


def test_a_full_bucket_grants_a_burst():
    assert WriteBudget().grant(ask(BURST), ORDER, NOW)["vms"] == BURST_VMS


def test_an_empty_bucket_grants_nothing_until_it_refills():
    budget = WriteBudget()
    budget.spend(BURST, 10.0, NOW)
    empty = budget.grant(ask(5, least=5), ORDER, NOW)
    assert (empty["vms"], empty["retry_after"]) == (0, 5 * PER_VM / 10)
    assert budget.grant(ask(5, least=5), ORDER, later(empty["retry_after"]))["vms"] == 5


def test_a_full_bucket_grants_one_vm_of_any_size():
    large = order(resource_uris=["r"] * BURST)
    budget = WriteBudget()
    assert budget.grant(ask(2), large, NOW)["vms"] == 1
    assert budget.grant(ask(2), large, later(1))["vms"] == 0


def test_fewer_vms_than_a_wave_is_worth_are_not_granted():
    budget = WriteBudget()
    budget.spend(BURST - 4 * PER_VM, 10.0, NOW)
    assert budget.grant(ask(9, least=5), ORDER, NOW)["vms"] == 0
    assert budget.grant(ask(9, least=4), ORDER, NOW)["vms"] == 4


@pytest.mark.parametrize("least", [1, 13, 50])
def test_a_fleet_that_asks_when_it_should_wastes_no_writes(least: int):
    budget, vms, at = WriteBudget(), 0, 0.0
    while at < 1200:
        grant = budget.grant(ask(50, least=least), ORDER, later(at))
        vms += grant["vms"]
        at += grant["retry_after"]
    by_writes, by_nics = 1200 * 10 / PER_VM, NICS * 1200 / NIC_WINDOW * 10
    assert vms > 0.95 * min(by_writes, by_nics)


def test_retried_roles_precede_new_vms():
    budget = WriteBudget()
    budget.spend(BURST - 10, 10.0, NOW)
    grant = budget.grant(ask(9, roles=4), ORDER, NOW)
    assert (grant["roles"], grant["vms"]) == (4, (10 - 4) // PER_VM)


def test_a_thousand_nics_take_more_than_five_minutes():
    """However slowly the writes are sent."""
    budget, sent = WriteBudget(), []
    for second in range(0, 660, 2):
        sent.append((second, budget.grant(ask(100), order(writes_per_second=10), later(second))))
    for start in range(0, 360, 2):
        assert sum(one["vms"] for at, one in sent if start <= at <= start + 300) <= NICS
    assert sum(one["vms"] for _, one in sent) > 1.9 * NICS


def test_the_nics_of_five_minutes_are_few_entries():
    """The budget is part of the fleet's state, and of a row that each ask writes."""
    budget = WriteBudget()
    for second in range(0, 600):
        budget.spend(2, 10.0, later(second), nics=1)
    assert len(budget.nics) <= 32


def test_nics_of_other_principals_count():
    """Azure limits them for a subscription, and writes for a principal."""
    assert WriteBudget().grant(ask(9), ORDER, NOW, other_nics=NICS - 4)["vms"] == 4


def test_a_vm_accepted_before_an_outage_does_not_end_it():
    """Its wave may end after the wave that met the outage."""
    budget = WriteBudget(outage_since=later(10).isoformat())
    budget.end_outage(later(9).isoformat())
    assert budget.outage_since is not None
    budget.end_outage(later(11).isoformat())
    assert budget.outage_since is None


@pytest.mark.parametrize(
    ("free", "mine", "others", "share"),
    [
        (100, (30, 0), [], 30),
        (100, (130, 0), [], 100),
        (100, (130, 0), [(10, 0)], 90),
        (100, (130, 0), [(200, 0)], 50),
        (100, (20, 0), [(200, 0)], 20),
        (90, (130, 0), [(10, 0), (200, 0)], 40),
        (100, (130, 60), [(200, 0)], 20),
        (100, (130, 300), [(200, 0)], 0),
        (100, (130, 0), [(200, 300)], 100),
        (-5, (10, 0), [], 0),
        (-5, (10, 0), [(10, 0)], 0),
    ],
)
def test_those_that_have_taken_least_come_first(
    free: int, mine: tuple[int, int], others: list[tuple[int, int]], share: float
):
    found = fair_share(free, Claim(*mine), [Claim(*one) for one in others])
    assert found == pytest.approx(share, abs=0.01)
