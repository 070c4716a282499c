"""The table of fleets: references, paged lists, and which fleets are purged."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg2
import pytest

from fleet.store import claims, fleets
from fleet.store.fleets import Filter
from tests.fleet.store.fleet_rows import end, sql, start, submission
from tests.relay import Relay


def matches(uri: str, text: str) -> list[int]:
    return [row.batch_id for row in fleets.matching(uri, text)]


@pytest.fixture(scope="module")
def referable(make_uri: Callable[[], str]) -> str:
    """A database with fleets that references resolve to."""
    uri = make_uri()
    start(uri, 7)
    start(uri, LONG, name="nightly")
    start(uri, LONGER)
    return uri


@pytest.fixture(scope="module")
def listed(make_uri: Callable[[], str]) -> str:
    """A database with a fleet that has ended and two that have not."""
    uri = make_uri()
    start(uri, 1)
    end(uri, 1)
    start(uri, 2, experiment_id=5)
    start(uri, 3, submitters=["key-2"])
    fleets.update(uri, 3, {"experiment_name": "iris"})
    return uri


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
def test_references_resolve_to_fleets(referable: str, text: str, meant: list[int]):
    assert matches(referable, text) == meant


ELSEWHERE = {"experiment_id": 2}, {"databases": ["there"]}


@pytest.mark.parametrize(
    ("phase", "more", "last"),
    [
        ("create", {}, False), ("run", {}, False), ("run", {"ended": True}, True),
        ("run", {"deadline": "2 hours ago"}, True), ("plan", {}, True), ("teardown", {}, True),
        *(("run", {"of": one}, True) for one in ELSEWHERE),
    ],
)  # fmt: skip
def test_a_fleet_is_the_last_of_its_experiment_if_no_other_runs(
    uri: str, phase: str, more: dict[str, Any], last: bool
):
    start(uri, 1)
    start(uri, 2, **more.get("of", {}))
    fleets.update(uri, 2, {"phase": phase})
    if "deadline" in more:
        sql(uri, "UPDATE powerlift_fleet SET deadline = now() - interval '2 hours'")
    if "ended" in more:
        end(uri, 2)
    assert fleets.leave_experiment(uri, 1) is last


def test_of_fleets_that_end_at_the_same_time_at_least_one_is_the_last(uri: str):
    batches = range(1, 5)
    for batch in batches:
        start(uri, batch)
        fleets.update(uri, batch, {"phase": "run"})
    with ThreadPoolExecutor(len(batches)) as pool:
        last = list(pool.map(partial(fleets.leave_experiment, uri), batches))
    assert any(last)


def test_a_name_resolves_to_the_running_fleet_else_the_newest(uri: str):
    for batch_id in (1, 2, 3):
        start(uri, batch_id, name="nightly")
        end(uri, batch_id)
    newest = matches(uri, "nightly")
    start(uri, 4, name="nightly")
    assert (newest, matches(uri, "nightly")) == ([3], [4])


def test_pages_contain_every_fleet_once_during_submissions(uri: str):
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
        (Filter(submitted_by="key-2"), [3]),
        (Filter(since=datetime.now(UTC) + timedelta(hours=1)), []),
        (Filter(sort="oldest", limit=2), [1, 2]),
    ],
)
def test_a_list_is_filtered(listed: str, wanted: Filter, found: list[int]):
    assert [row.batch_id for row in fleets.page(listed, wanted)] == found


def test_a_claim_without_a_fleet_is_not_listed(uri: str):
    claims.claim(uri, submission(1))
    assert (fleets.page(uri, Filter()), matches(uri, "latest"), fleets.active(uri, "us")) == (
        [],
        [],
        [],
    )


def test_the_row_of_a_completed_fleet_is_immutable(uri: str):
    start(uri, 1)
    fleets.update(uri, 1, {"phase": "run", "machines": {"running": 2}, "trials": {"total": 4}})
    end(uri, 1, cost=0.5)
    fleets.update(uri, 1, {"phase": "run", "cost": None})
    [row] = fleets.page(uri, Filter())
    assert (row.phase, row.machines, row.cost) == ("done", {"running": 2}, 0.5)


def test_an_account_has_its_newest_fleet_and_all_resource_uris(uri: str):
    start(uri, 1, resource_uris=["/a", "/b"])
    start(uri, 2, resource_uris=["/b", "/c"])
    start(uri, 3, account="other")
    end(uri, 2)
    found = sorted((batch_id, sorted(uris)) for batch_id, uris in fleets.accounts(uri, "us"))
    assert found == [(2, ["/a", "/b", "/c"]), (3, [])]


def purgeable(uri: str, owner: str = "us") -> list[int]:
    return [row.batch_id for row in fleets.to_purge(uri, owner, 30, 10)]


def test_only_old_completed_fleets_are_purged_and_only_once(uri: str):
    for batch_id in (1, 2, 3):
        start(uri, batch_id, max_lifetime=0.0)
    end(uri, 1, ended_at=datetime.now(UTC) - timedelta(days=31))
    end(uri, 2)
    before = (purgeable(uri), purgeable(uri, "them"))
    fleets.mark_purged(uri, 1)
    assert (before, purgeable(uri)) == (([1], []), [])


def test_a_fleet_that_may_have_vms_is_not_purged(uri: str):
    start(uri, 1, max_lifetime=3600.0)
    end(uri, 1, ended_at=datetime.now(UTC) - timedelta(days=31))
    assert purgeable(uri) == []


def test_deployments_have_separate_fleets_and_accounts(uri: str):
    start(uri, 1)
    start(uri, 2, owner="them")
    active = [row.batch_id for row in fleets.active(uri, "us")]
    assert (active, [batch for batch, _ in fleets.accounts(uri, "us")]) == ([1], [1])


def test_a_fleet_that_reports_is_marked_as_started(uri: str):
    """As after a crash between the start and its mark."""
    claims.claim(uri, submission(1))
    fleets.update(uri, 1, {"phase": "create"})
    assert [row.batch_id for row in fleets.active(uri, "us")] == [1]


def test_an_idempotency_key_with_another_batch_id_is_refused(uri: str):
    start(uri, 1, idempotency_key="k")
    with pytest.raises(claims.AlreadyUsed):
        claims.claim(uri, submission(2, idempotency_key="k"))


def test_numbers_skip_used_ones(uri: str):
    for batch_id in range(1, 10):
        start(uri, batch_id)
    numbers = [start(uri, LONG + n).number for n in range(3)]
    assert numbers == [10, 11, 12]


def test_a_prefix_of_a_reused_name_resolves_to_one_fleet(uri: str):
    for batch_id in (1, 2):
        start(uri, batch_id, name="nightly")
        end(uri, batch_id)
    assert matches(uri, "night") == [2]


def test_an_older_sealing_key_still_matches_a_submitter_and_a_request(uri: str):
    first = start(uri, 1, submitters=["old"], idempotency_key="k", fingerprints=["old"])
    now = {"submitters": ["new", "old"], "fingerprints": ["new", "old"], "chose_batch_id": False}
    again = start(uri, 2, idempotency_key="k", **now)
    assert (again.batch_id, again.started) == (first.batch_id, True)


def test_a_lease_has_one_holder(uri: str):
    start(uri, 1)
    with claims.leased(uri, 1), pytest.raises(claims.LeaseHeld), claims.leased(uri, 1):
        pass


def test_a_fleet_without_a_row_has_no_lease(uri: str):
    with claims.leased(uri, 1) as lease:
        assert lease is None


def test_large_values_in_a_row_are_not_fetched(uri: str):
    """VMs may write them where the app's database is the benchmark's."""
    start(uri, 8, resource_uris=["/a"])
    with psycopg2.connect(uri) as database, database.cursor() as cursor:
        cursor.execute(
            "UPDATE powerlift_fleet SET experiment_name = text, phase = text, trials = to_jsonb(text),"
            " machines = to_jsonb(text), resource_uris = resource_uris || text"
            " FROM repeat('x', 20000000) AS text"
        )
    with Relay(uri) as relay:
        [row] = fleets.active(relay.uri, "us")
        accounts = fleets.accounts(relay.uri, "us")
    assert (row.machines, row.trials, accounts) == (None, None, [(8, ["/a"])])
    assert relay.received < 100_000


def test_a_fleet_without_a_number_hides_no_account(uri: str):
    start(uri, 8, account="a")
    start(uri, 9, account="b")
    with psycopg2.connect(uri) as database, database.cursor() as cursor:
        cursor.execute("UPDATE powerlift_fleet SET batch_id = 'NaN' WHERE batch_id = 8")
    assert fleets.accounts(uri, "us") == [(9, [])]
