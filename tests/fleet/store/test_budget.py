"""FLEET_BUDGET: what counts in a month, and that fleets cannot exceed it together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fleet.store import budget
from tests.fleet.store.fleet_rows import end, sql, start

OWNER = "us"
MONTH = "date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"


def fits(uri: str, batch_id: int, at_most: float) -> bool:
    """Whether a started fleet may cost so much, with a budget of 10 dollars."""
    try:
        budget.reserve(uri, OWNER, batch_id, at_most, 10.0)
    except budget.BudgetExceeded:
        return False
    return True


def started(uri: str, *batch_ids: int) -> None:
    for batch_id in batch_ids:
        start(uri, batch_id)


def test_running_fleets_count_with_what_they_may_cost(uri: str):
    started(uri, 1, 2, 3)
    found = [fits(uri, 1, 6.0), fits(uri, 2, 4.01), fits(uri, 3, 4.0)]
    assert (found, budget.committed(uri, OWNER)) == ([True, False, True], 10.0)


@pytest.mark.parametrize(
    ("how", "counted"),
    [
        ({"cost": 1.25, "machines": {"accepted": 2, "running": 0}}, 1.25),
        ({"cost": None, "machines": {"accepted": 0, "running": 0}}, 0.0),
        ({"cost": None, "machines": {"accepted": 2, "running": 0}}, 6.0),
        ({"cost": 1.25, "machines": {"accepted": 2, "running": 1}}, 6.0),
        ({"cost": float("nan"), "machines": {"accepted": 2, "running": 0}}, 6.0),
    ],
    ids=["ended", "without VMs", "unknown cost", "keeps a VM", "invalid"],
)
def test_an_ended_fleet_counts_with_its_cost(uri: str, how: dict[str, Any], counted: float):
    started(uri, 1)
    assert fits(uri, 1, 6.0)
    end(uri, 1, **how)
    assert budget.committed(uri, OWNER) == counted


@pytest.mark.parametrize(
    ("ended", "counted"),
    [(MONTH, 2.0), (f"{MONTH} - interval '1 s'", 0.0)],
    ids=["this month", "last month"],
)
def test_a_fleet_counts_in_the_month_of_its_end(uri: str, ended: str, counted: float):
    started(uri, 1)
    assert fits(uri, 1, 6.0)
    end(uri, 1, cost=2.0, machines={"accepted": 1, "running": 0})
    sql(uri, f"UPDATE powerlift_fleet SET ended_at = {ended}")
    assert budget.committed(uri, OWNER) == counted


@pytest.mark.parametrize(
    ("deadline", "counted"),
    [("now() + interval '1 hour'", 6.0), (f"{MONTH} - interval '1 s'", 0.0)],
    ids=["until their deadline", "no longer"],
)
def test_vms_that_a_fleet_keeps_count_in_later_months(uri: str, deadline: str, counted: float):
    started(uri, 1)
    assert fits(uri, 1, 6.0)
    end(uri, 1, cost=2.0, machines={"accepted": 1, "running": 1})
    last_month = f"{MONTH} - interval '1 day'"
    sql(uri, f"UPDATE powerlift_fleet SET ended_at = {last_month}, deadline = {deadline}")
    assert budget.committed(uri, OWNER) == counted


@pytest.mark.parametrize(
    "change", ["DELETE FROM powerlift_fleet", "UPDATE powerlift_fleet SET ended_at = now()"]
)
def test_a_fleet_that_cannot_be_recorded_does_not_start(uri: str, change: str):
    started(uri, 1)
    sql(uri, change)
    budget.reserve(uri, OWNER, 1, 6.0, None)  # without a budget, nothing depends on it
    with pytest.raises(budget.NotReserved, match="Nothing was created"):
        budget.reserve(uri, OWNER, 1, 6.0, 10.0)


def test_another_deployment_does_not_count(uri: str):
    start(uri, 1, owner="them")
    budget.reserve(uri, "them", 1, 9.0, 10.0)
    started(uri, 2)
    assert fits(uri, 2, 10.0)


def test_a_repeated_reservation_counts_once(uri: str):
    started(uri, 1)
    assert [fits(uri, 1, 6.0), fits(uri, 1, 6.0)] == [True, True]
    assert budget.committed(uri, OWNER) == 6.0


def test_concurrent_fleets_cannot_exceed_the_budget(uri: str):
    started(uri, *range(1, 9))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch_id: fits(uri, batch_id, 3.0), range(1, 9)))
    assert (found.count(True), budget.committed(uri, OWNER)) == (3, 9.0)


def test_without_a_budget_the_cost_is_recorded_for_a_later_one(uri: str):
    started(uri, 1, 2)
    budget.reserve(uri, OWNER, 1, 600.0, None)
    budget.reserve(uri, OWNER, 2, None, None)
    assert budget.committed(uri, OWNER) == 600.0
