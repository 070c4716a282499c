"""The write budget in a real database: shared by processes, charged once, by the database's clock."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest

from fleet.model.records import Order
from fleet.model.write_budget import BURST, NICS, Ask, Grant, writes_per_vm
from fleet.store import write_budgets
from fleet.store.database import DatabaseUnreachable
from tests.fleets import order

SLOW = 0.01
"""Writes per second: no refill while a test runs."""
BURST_VMS = BURST // writes_per_vm(order())


def take(
    uri: str, fleet: int, vms: int, ask_id: str = "1", principal: str = "p", **changes: Any
) -> Grant:
    ask: Ask = {"id": ask_id, "roles": 0, "vms": vms, "least": 1, "pause": 0.0}
    ask = {**ask, **changes.pop("ask", {})}  # type: ignore[typeddict-item]
    wanted: Order = order(batch_id=fleet, writes_per_second=SLOW, **changes)
    return write_budgets.take(uri, principal, wanted, ask)


def run(uri: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    database = psycopg2.connect(uri)
    try:
        with database, database.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        database.close()


def test_concurrent_fleets_take_one_burst_together(uri: str):
    with ThreadPoolExecutor(16) as pool:
        grants = list(pool.map(lambda fleet: take(uri, fleet, 7), range(16)))
    assert sum(one["vms"] for one in grants) == BURST_VMS


def test_an_ask_that_is_repeated_concurrently_is_charged_once(uri: str):
    """The host repeats an activity whose host it believes to have crashed."""
    with ThreadPoolExecutor(8) as pool:
        grants = list(pool.map(lambda _: take(uri, 1, 20), range(8)))
    assert [one["vms"] for one in grants] == [20] * 8
    assert take(uri, 2, BURST_VMS)["vms"] == BURST_VMS - 20


def test_an_ask_of_a_fleet_is_not_a_repetition_of_anothers(uri: str):
    take(uri, 1, 20, "a")
    take(uri, 2, 20, "a")
    take(uri, 1, 20, "b")
    assert take(uri, 3, 20)["vms"] == 0


@pytest.mark.parametrize("other", [{"principal": "q"}, {"subscription_id": "t"}])
def test_a_principal_has_a_budget_in_each_subscription(uri: str, other: dict[str, str]):
    take(uri, 1, BURST_VMS)
    assert take(uri, 2, 9, **other)["vms"] == 9


def test_the_case_of_a_subscription_id_makes_no_second_budget(uri: str):
    take(uri, 1, BURST_VMS, subscription_id="ABC")
    assert take(uri, 2, 9, subscription_id="abc")["vms"] == 0


def test_principals_share_the_nics_of_a_subscription(uri: str):
    budget = {
        "writes": {"paused_until": None, "spent": 0, "spent_at": None, "nics": []},
        "asks": {},
    }
    take(uri, 1, 1, principal="other")
    statement = """UPDATE powerlift_fleet_writes SET budget = jsonb_set(%s::jsonb, '{writes,nics}',
        jsonb_build_array(jsonb_build_array(to_char(now() AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'), %s::integer)))"""
    run(uri, statement, psycopg2.extras.Json(budget), NICS - 4)
    assert take(uri, 2, 9)["vms"] == 4


def test_a_pause_reaches_the_other_fleets(uri: str):
    take(uri, 1, 0, ask={"pause": 20.0})
    paused = take(uri, 2, 5)
    assert (paused["vms"], 15 < paused["paused"] <= 20) == (0, True)


def test_a_row_that_another_session_locks_delays_an_ask_by_seconds_only(uri: str):
    """A fleet then uses its own budget."""
    take(uri, 1, 1)
    database = psycopg2.connect(uri)
    try:
        database.cursor().execute("SELECT FROM powerlift_fleet_writes FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(DatabaseUnreachable):
            take(uri, 2, 1)
        assert time.monotonic() - began < 15
    finally:
        database.close()


@pytest.mark.parametrize("budget", ["[]", '{"writes": 7}', '{"padding": "%s"}'])
def test_an_invalid_row_is_replaced(uri: str, budget: str):
    take(uri, 1, BURST_VMS)
    filled = budget.replace("%s", "x" * 200_000)
    run(uri, "UPDATE powerlift_fleet_writes SET budget = %s", filled)
    assert take(uri, 2, 9)["vms"] == 9
    [(size,)] = run(uri, "SELECT length(budget::text) FROM powerlift_fleet_writes")
    assert size < 1000


def test_the_row_contains_no_secret(uri: str):
    """Only counts, times, and the IDs of fleets."""
    take(uri, 1, 1, sealed="sealed-secret")
    [row] = run(uri, "SELECT powerlift_fleet_writes::text FROM powerlift_fleet_writes")
    assert "secret" not in row[0]
