"""The table of fleets: what a text means, lists in pages, and what is old enough to purge."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from fleet.store import claims, fleets, schema
from fleet.store.fleets import Filter
from tests.fleet.conftest import Benchmark

_numbers = itertools.count()


@pytest.fixture
def uri(benchmark_database: Benchmark) -> str:
    """A database with the app's tables alone."""
    name = f"app_{next(_numbers)}"
    server = psycopg2.connect(benchmark_database.uri)
    server.autocommit = True  # CREATE DATABASE refuses a transaction
    server.cursor().execute(f"CREATE DATABASE {name}")
    server.close()
    fresh = benchmark_database.postgres.uri(name)
    schema.migrate(fresh, schema.APP)
    return fresh


def start(uri: str, batch_id: int, **more: Any) -> claims.Claim:
    """A fleet that was submitted and started."""
    submission = claims.Submission(
        **{
            "batch_id": batch_id, "callers": ["key-1"], "idempotency_key": None,
            "fingerprints": ["same"], "name": None, "experiment_id": 1, "n_instances": 2,
            "account": "account", "resource_uris": [], **more,
        }
    )  # fmt: skip
    claim = claims.claim(uri, submission)
    with claims.leased(uri, claim.batch_id) as lease:
        assert lease is not None
        lease.mark_started()
    return claim


def matches(uri: str, text: str) -> list[int]:
    return [row.batch_id for row in fleets.matching(uri, text)]


def end(uri: str, batch_id: int, **more: Any) -> None:
    ended = datetime.now(UTC)
    fleets.update(uri, batch_id, {"phase": "done", "ended_at": ended, **more})


LONG, LONGER = 8_371_268_713_126_378, 8_371_900_000_000_000


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("latest", [LONGER]),
        ("fleet-7", [7]),
        ("7", [7]),
        (f"fleet-{LONG}", [LONG]),
        ("fleet-1", [LONG]),
        ("2", [LONGER]),
        ("fleet-83712", [LONG]),
        ("fleet-8371", [LONGER, LONG]),
        ("837", []),
        ("nightly", [LONG]),
        ("night", [LONG]),
        ("NIGHTLY", []),
        ("night%", []),
        ("nightly\0", []),
        ("\udcff", []),
        ("\u0661", []),
        ("fleet-" + "9" * 30, []),
        ("fleet-99", []),
        ("nonsense", []),
        ("", []),
    ],
)
def test_a_text_means_a_fleet(uri: str, text: str, meant: list[int]):
    start(uri, 7)
    start(uri, LONG, name="nightly")
    start(uri, LONGER)
    assert matches(uri, text) == meant


def test_a_name_means_the_fleet_that_has_not_ended_else_the_newest(uri: str):
    for batch_id in (1, 2, 3):
        start(uri, batch_id, name="nightly")
        end(uri, batch_id)
    newest = matches(uri, "nightly")
    start(uri, 4, name="nightly")
    assert (newest, matches(uri, "nightly")) == ([3], [4])


def test_pages_hold_every_fleet_once_while_others_are_submitted(uri: str):
    for batch_id in range(1, 8):
        start(uri, batch_id)
    seen: list[int] = []
    after = None
    while found := fleets.page(uri, Filter(limit=3, after=after)):
        seen += [row.batch_id for row in found]
        after = (found[-1].submitted_at, found[-1].batch_id)
        start(uri, 100 + len(seen))
    assert seen == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(status="active"), [3, 2]),
        (Filter(status="ended"), [1]),
        (Filter(status="done"), [1]),
        (Filter(experiment="5"), [2]),
        (Filter(experiment="iris"), [3]),
        (Filter(owner="key-2"), [3]),
        (Filter(since=datetime.now(UTC) + timedelta(hours=1)), []),
        (Filter(sort="oldest", limit=2), [1, 2]),
    ],
)
def test_a_list_is_filtered(uri: str, wanted: Filter, found: list[int]):
    start(uri, 1)
    end(uri, 1)
    start(uri, 2, experiment_id=5)
    start(uri, 3, callers=["key-2"])
    fleets.update(uri, 3, {"experiment_name": "iris"})
    assert [row.batch_id for row in fleets.page(uri, wanted)] == found


def test_what_was_only_claimed_is_not_listed(uri: str):
    submission = claims.Submission(1, ["key-1"], None, ["same"], None, 1, 2, "account", [])
    claims.claim(uri, submission)
    assert (fleets.page(uri, Filter()), matches(uri, "latest"), fleets.active(uri)) == ([], [], [])


def test_a_row_stays_as_its_fleet_ended(uri: str):
    start(uri, 1)
    fleets.update(uri, 1, {"phase": "run", "machines": {"running": 2}, "trials": {"total": 4}})
    end(uri, 1, cost=0.5)
    fleets.update(uri, 1, {"phase": "run", "cost": None})
    [row] = fleets.page(uri, Filter())
    assert (row.phase, row.machines, row.cost) == ("done", {"running": 2}, 0.5)


def test_an_account_is_known_by_its_newest_fleet_and_all_resource_uris(uri: str):
    start(uri, 1, resource_uris=["/a", "/b"])
    start(uri, 2, resource_uris=["/b", "/c"])
    start(uri, 3, account="other")
    end(uri, 2)
    found = sorted((batch_id, sorted(uris)) for batch_id, uris in fleets.accounts(uri))
    assert found == [(2, ["/a", "/b", "/c"]), (3, [])]


def test_only_what_ended_long_ago_is_purged_and_once(uri: str):
    for batch_id in (1, 2, 3):
        start(uri, batch_id)
    end(uri, 1, ended_at=datetime.now(UTC) - timedelta(days=31))
    end(uri, 2)
    old = [row.batch_id for row in fleets.to_purge(uri, 30, 10)]
    fleets.mark_purged(uri, 1)
    assert (old, fleets.to_purge(uri, 30, 10)) == ([1], [])


def test_an_older_sealing_key_still_recognizes_a_caller_and_a_request(uri: str):
    first = start(uri, 1, callers=["old"], idempotency_key="k", fingerprints=["old"])
    again = start(uri, 2, callers=["new", "old"], idempotency_key="k", fingerprints=["new", "old"])
    assert (again.batch_id, again.started) == (first.batch_id, True)


def test_a_lease_is_held_by_one(uri: str):
    start(uri, 1)
    with claims.leased(uri, 1), pytest.raises(claims.LeaseHeld), claims.leased(uri, 1):
        pass


def test_a_fleet_without_a_row_has_no_lease(uri: str):
    with claims.leased(uri, 1) as lease:
        assert lease is None
