"""The token bucket of writes, the NICs of the last five minutes, and the shares of several fleets."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from fleet.model.write_budget import (
    BURST,
    LONGEST_PAUSE,
    NICS,
    Ask,
    Claim,
    Grant,
    SharedBudget,
    WriteBudget,
    fair_share,
    writes_per_vm,
)
from tests.fleets import NOW, later, order

ORDER = order()
PER_VM = writes_per_vm(ORDER)
BURST_VMS = BURST // PER_VM
ELAPSED = range(0, 600, 2)
"""Seconds. A fleet asks every two seconds."""
_ids = count()


def ask(vms: int = 0, **changes: Any) -> Ask:
    usual = {"id": str(next(_ids)), "roles": 0, "vms": vms, "least": 1, "pause": 0.0}
    return {**usual, **changes}  # type: ignore[typeddict-item]


def take(
    budget: SharedBudget, fleet: str, vms: int = 0, second: float = 0, **changes: Any
) -> Grant:
    return budget.take(fleet, ask(vms, **changes), ORDER, later(second))


def create_all(fleets: dict[str, int], spent: int = 0) -> dict[str, float]:
    """When each fleet has got all of its VMs. Each asks as fleets do: for waves of 20 VMs, worthwhile
    from 5, until it has to wait.
    """
    budget = SharedBudget(WriteBudget(spent=spent, spent_at=NOW.isoformat()))
    left, ended = dict(fleets), {}
    ask_at, least = dict.fromkeys(fleets, 0.0), dict.fromkeys(fleets, 5)
    for second in ELAPSED:
        for turn, fleet in enumerate(fleets):
            at = second + turn / 100
            while left[fleet] and at >= ask_at[fleet]:
                wave = min(20, left[fleet])
                grant = take(budget, fleet, wave, at, least=min(wave, least[fleet]))
                left[fleet] -= grant["vms"]
                least[fleet] = 5 if grant["vms"] else 1
                if grant["retry_after"]:
                    ask_at[fleet] = at + grant["retry_after"]
            if not left[fleet]:
                ended.setdefault(fleet, at)
    return ended


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


def test_fleets_together_take_one_burst():
    budget = SharedBudget()
    granted = sum(take(budget, str(fleet), 20)["vms"] for fleet in range(10))
    assert granted == BURST_VMS


def test_a_repeated_ask_gets_the_same_grant_and_takes_nothing():
    budget, same = SharedBudget(), ask(20)
    first = budget.take("a", same, ORDER, NOW)
    spent = budget.writes.spent
    assert budget.take("a", same, ORDER, later(60)) == first
    assert (first["vms"], budget.writes.spent) == (20, spent)


def test_a_small_fleet_does_not_wait_for_a_large_one():
    ended = create_all({"large": 1000, "small": 5})
    assert ended["small"] <= 8
    assert 250 < ended["large"] < 330


def test_fifty_fleets_of_five_do_not_wait_for_a_fleet_of_a_thousand():
    """250 VMs take 57 s at ten writes a second."""
    ended = create_all({"large": 1000, **{f"small {n}": 5 for n in range(50)}})
    assert max(at for fleet, at in ended.items() if fleet != "large") < 120


def test_equal_fleets_end_together():
    ended = create_all({"first": 200, "second": 200, "third": 200}, spent=BURST)
    assert max(ended.values()) - min(ended.values()) <= 10


def test_two_fleets_take_as_long_as_one_with_all_their_vms():
    two, one = create_all({"a": 200, "b": 200}), create_all({"a": 400})
    assert max(two.values()) <= 1.05 * max(one.values())


def test_no_fleet_takes_more_than_azure_accepts():
    """However many ask: at most a burst, and ten writes a second."""
    budget, sent = SharedBudget(), 0
    for second in range(0, 200, 2):
        for fleet in range(20):
            sent += take(budget, str(fleet), 20, second + fleet / 10, least=5)["vms"]
        assert PER_VM * sent <= BURST + 10 * (second + 2)


def test_a_pause_of_one_fleet_is_a_pause_of_all():
    budget = SharedBudget()
    take(budget, "throttled", pause=20.0)
    paused = take(budget, "other", 5, 5)
    assert (paused["vms"], paused["paused"], paused["retry_after"]) == (0, 15.0, 15.0)
    assert take(budget, "other", 5, 20)["vms"] == 5


def test_a_budget_is_the_same_after_it_was_stored():
    budget = SharedBudget()
    take(budget, "a", 100, least=1)
    take(budget, "b", 7, pause=3.0)
    assert SharedBudget.read(budget.write(), NOW) == budget


def test_only_the_latest_fleets_are_stored():
    budget = SharedBudget()
    for fleet in range(260):
        take(budget, str(fleet), 1, fleet / 10)
    assert "259" in budget.write()["asks"]
    assert len(budget.write()["asks"]) == 250


FOREVER = (NOW + timedelta(days=9000)).isoformat()
STORED = SharedBudget().write()


@pytest.mark.parametrize(
    "document",
    [
        None, [], "x", {}, {"writes": {}}, {"writes": None, "asks": {}}, {**STORED, "asks": []},
        {**STORED, "asks": {"a": {"at": "never"}}},
        {**STORED, "writes": {**STORED["writes"], "spent": "x"}},
        {**STORED, "writes": {**STORED["writes"], "nics": [[FOREVER, -(10**400)], [7]]}},
        {**STORED, "writes": {**STORED["writes"], "spent_at": "2026-01-01T00:00:00"}},
    ],
)  # fmt: skip
def test_an_invalid_row_counts_as_an_unused_budget(document: Any):
    assert SharedBudget.read(document, NOW) in (SharedBudget(), SharedBudget.read(STORED, NOW))


@pytest.mark.parametrize(
    "forged",
    [
        {"paused_until": FOREVER},
        {"spent": 1e300, "spent_at": FOREVER},
        {"nics": [[FOREVER, 10**9]]},
    ],
)
def test_a_forged_row_stops_no_fleet_for_longer_than_azure_may(forged: dict[str, Any]):
    budget = SharedBudget.read({**STORED, "writes": {**STORED["writes"], **forged}}, NOW)
    end = LONGEST_PAUSE.total_seconds()
    assert take(budget, "a", 5, end)["vms"] == 5


def test_a_forged_grant_is_no_more_than_the_fleet_asked_for():
    budget, same = SharedBudget(), ask(3)
    budget.take("a", same, ORDER, NOW)
    document: Any = budget.write()
    document["asks"]["a"]["grant"] = {"roles": 9, "vms": 9, "retry_after": 1e99, "paused": -1}
    grant = SharedBudget.read(document, NOW).take("a", same, ORDER, NOW)
    assert (grant["roles"], grant["vms"], grant["paused"]) == (0, 3, 0)
    assert grant["retry_after"] <= LONGEST_PAUSE.total_seconds()
