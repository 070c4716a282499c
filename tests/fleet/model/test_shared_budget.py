"""The shares of several fleets in one budget, and a budget as a row."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from fleet.model.shared_budget import LONGEST_PAUSE, SharedBudget
from fleet.model.write_budget import BURST, Ask, Grant, TokenBucket, writes_per_vm
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
    budget = SharedBudget(TokenBucket(spent=spent, spent_at=NOW.isoformat()))
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
        if len(ended) == len(fleets):
            break
    return ended


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


def test_twenty_fleets_of_five_do_not_wait_for_a_fleet_of_a_thousand():
    """100 VMs take 30 s at ten writes a second, after the large fleet's burst."""
    ended = create_all({"large": 1000, **{f"small {n}": 5 for n in range(20)}})
    assert max(at for fleet, at in ended.items() if fleet != "large") < 60


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
