"""The table of fleets: what a text means, lists in pages, and what is old enough to purge."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from fleet.store import claims, fleets, schema
from fleet.store.fleets import Filter
from tests.fleet.conftest import Benchmark
from tests.relay import Relay

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


def submission(batch_id: int, **more: Any) -> claims.Submission:
    return claims.Submission(
        **{
            "owner": "us", "batch_id": batch_id, "chose_batch_id": True, "max_lifetime": 60.0,
            "callers": ["key-1"], "idempotency_key": None,
            "fingerprints": ["same"], "name": None, "experiment_id": 1, "n_instances": 2,
            "account": "account", "resource_uris": [], "max_vms": 1000, **more,
        }
    )  # fmt: skip


def start(uri: str, batch_id: int, **more: Any) -> claims.Claim:
    """A fleet that was submitted and started."""
    claim = claims.claim(uri, submission(batch_id, **more))
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
    claims.claim(uri, submission(1))
    assert (fleets.page(uri, Filter()), matches(uri, "latest"), fleets.active(uri, "us")) == (
        [],
        [],
        [],
    )


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
    found = sorted((batch_id, sorted(uris)) for batch_id, uris in fleets.accounts(uri, "us"))
    assert found == [(2, ["/a", "/b", "/c"]), (3, [])]


def purgeable(uri: str, owner: str = "us") -> list[int]:
    return [row.batch_id for row in fleets.to_purge(uri, owner, 30, 10)]


def test_only_what_ended_long_ago_is_purged_and_once(uri: str):
    for batch_id in (1, 2, 3):
        start(uri, batch_id, max_lifetime=0.0)
    end(uri, 1, ended_at=datetime.now(UTC) - timedelta(days=31))
    end(uri, 2)
    before = (purgeable(uri), purgeable(uri, "them"))
    fleets.mark_purged(uri, 1)
    assert (before, purgeable(uri)) == (([1], []), [])


def test_what_may_still_keep_vms_is_not_purged(uri: str):
    start(uri, 1, max_lifetime=3600.0)
    end(uri, 1, ended_at=datetime.now(UTC) - timedelta(days=31))
    assert purgeable(uri) == []


def test_another_deployment_has_other_fleets_and_accounts(uri: str):
    start(uri, 1)
    start(uri, 2, owner="them")
    active = [row.batch_id for row in fleets.active(uri, "us")]
    assert (active, [batch for batch, _ in fleets.accounts(uri, "us")]) == ([1], [1])


def test_a_fleet_that_reports_has_started(uri: str):
    """As after a crash between the start and its mark."""
    claims.claim(uri, submission(1))
    fleets.update(uri, 1, {"phase": "create"})
    assert [row.batch_id for row in fleets.active(uri, "us")] == [1]


def test_an_idempotency_key_with_another_batch_id_is_refused(uri: str):
    start(uri, 1, idempotency_key="k")
    with pytest.raises(claims.AlreadyUsed):
        claims.claim(uri, submission(2, idempotency_key="k"))


def test_numbers_skip_what_is_used(uri: str):
    for batch_id in range(1, 60):
        start(uri, batch_id)
    numbers = [start(uri, LONG + n).number for n in range(3)]
    assert numbers == [60, 61, 62]


def test_a_prefix_of_a_name_used_twice_means_one_fleet(uri: str):
    for batch_id in (1, 2):
        start(uri, batch_id, name="nightly")
        end(uri, batch_id)
    assert matches(uri, "night") == [2]


def test_an_older_sealing_key_still_recognizes_a_caller_and_a_request(uri: str):
    first = start(uri, 1, callers=["old"], idempotency_key="k", fingerprints=["old"])
    now = {"callers": ["new", "old"], "fingerprints": ["new", "old"], "chose_batch_id": False}
    again = start(uri, 2, idempotency_key="k", **now)
    assert (again.batch_id, again.started) == (first.batch_id, True)


def test_a_lease_is_held_by_one(uri: str):
    start(uri, 1)
    with claims.leased(uri, 1), pytest.raises(claims.LeaseHeld), claims.leased(uri, 1):
        pass


def test_a_fleet_without_a_row_has_no_lease(uri: str):
    with claims.leased(uri, 1) as lease:
        assert lease is None


def room(uri: str, batch_id: int, **more: Any) -> bool:
    """Whether a fleet of two VMs fits in ten."""
    try:
        claims.claim(uri, submission(batch_id, max_vms=10, **more))
    except claims.TooManyVms:
        return False
    return True


def age(uri: str, batch_id: int, hours: float) -> None:
    with psycopg2.connect(uri) as database, database.cursor() as cursor:
        cursor.execute(
            "UPDATE powerlift_fleet SET submitted_at = submitted_at - %(age)s * interval '1 hour',"
            " deadline = deadline - %(age)s * interval '1 hour' WHERE batch_id = %(batch)s",
            {"age": hours, "batch": batch_id},
        )


def test_fleets_together_cannot_have_more_vms_than_allowed(uri: str):
    start(uri, 1, n_instances=8)
    fits = [room(uri, 2), room(uri, 3), room(uri, 4, owner="them")]
    end(uri, 1, machines={"running": 0})
    assert (fits, room(uri, 3)) == ([True, False, True], True)


def test_fleets_submitted_at_once_cannot_have_more_vms_than_allowed(uri: str):
    with ThreadPoolExecutor(8) as pool:
        fits = list(pool.map(lambda batch: room(uri, batch), range(1, 9)))
    assert (fits.count(True), claims.count_alive(uri, "us")) == (5, 10)


def test_fleet_counts_with_the_vms_that_it_wants(uri: str):
    start(uri, 1, n_instances=900)
    fleets.update(uri, 1, {"machines": {"wanted": 8}})
    assert (claims.count_alive(uri, "us"), room(uri, 2), room(uri, 3)) == (8, True, False)


@pytest.mark.parametrize(
    ("phase", "running", "fits"), [("done", 9, False), ("done", 0, True), ("failed", 9, True)]
)
def test_vms_left_in_place_count_after_the_end(uri: str, phase: str, running: int, fits: bool):
    start(uri, 1, n_instances=9, max_lifetime=7200.0)
    end(uri, 1, machines={"running": running, "deleted": 0}, phase=phase)
    assert room(uri, 2) == fits


def test_vms_left_in_place_count_until_they_are_deleted(uri: str):
    start(uri, 1, n_instances=9)
    end(uri, 1, machines={"running": 7, "deleted": 2})
    fleets.mark_vms_deleted(uri, 1)
    [row] = fleets.page(uri, Filter())
    assert (row.machines, room(uri, 2)) == ({"running": 0, "deleted": 9}, True)


def test_nothing_counts_after_its_deadline(uri: str):
    start(uri, 1, n_instances=10, max_lifetime=60.0)
    fits = room(uri, 2)
    age(uri, 1, 1.1)
    assert (fits, room(uri, 2)) == (False, True)


def test_claim_that_was_given_up_counts_for_an_hour_and_again_when_repeated(uri: str):
    old = submission(1, n_instances=9, max_lifetime=86_400.0, max_vms=10)
    claims.claim(uri, old)
    fits = room(uri, 2)
    age(uri, 1, 1.1)
    later = room(uri, 2)
    with pytest.raises(claims.TooManyVms):
        claims.claim(uri, old)
    fleets.delete_claim(uri, 2)
    claims.claim(uri, old)
    assert (fits, later, claims.count_alive(uri, "us")) == (False, True, 9)


def test_without_a_table_no_vm_exists(benchmark_database: Benchmark):
    assert claims.count_alive(benchmark_database.postgres.uri("postgres"), "us") == 0


def test_large_values_of_a_row_are_not_received(uri: str):
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
