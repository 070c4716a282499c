"""FLEET_MAX_VMS: which VMs count, unaffected by other roles' rows, numbers and locks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest

from fleet.store import claims, database, fleets, schema
from fleet.store.database import DatabaseUnreachable
from fleet.store.fleets import Filter
from tests.fleet.conftest import Benchmark
from tests.fleet.store.fleet_rows import end, sql, start, submission


def can_claim(uri: str, batch_id: int, **more: Any) -> bool:
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


def test_all_fleets_together_cannot_exceed_the_vm_limit(uri: str):
    start(uri, 1, n_instances=8)
    fits = [can_claim(uri, 2), can_claim(uri, 3), can_claim(uri, 4, owner="them")]
    end(uri, 1, machines={"running": 0})
    assert (fits, can_claim(uri, 3)) == ([True, False, True], True)


def test_concurrent_submissions_cannot_exceed_the_vm_limit(uri: str):
    with ThreadPoolExecutor(8) as pool:
        fits = list(pool.map(lambda batch: can_claim(uri, batch), range(1, 9)))
    assert (fits.count(True), claims.count_alive(uri, "us")) == (5, 10)


def test_fleet_counts_with_its_requested_vms(uri: str):
    start(uri, 1, n_instances=900)
    fleets.update(uri, 1, {"machines": {"wanted": 8}})
    assert (claims.count_alive(uri, "us"), can_claim(uri, 2), can_claim(uri, 3)) == (
        8,
        True,
        False,
    )


@pytest.mark.parametrize(
    ("phase", "running", "fits"), [("done", 9, False), ("done", 0, True), ("failed", 9, False)]
)
def test_kept_vms_count_after_the_end(uri: str, phase: str, running: int, fits: bool):
    start(uri, 1, n_instances=9, max_lifetime=7200.0)
    end(uri, 1, machines={"running": running, "deleted": 0}, phase=phase)
    assert can_claim(uri, 2) == fits


def test_kept_vms_count_until_they_are_deleted(uri: str):
    start(uri, 1, n_instances=9)
    end(uri, 1, machines={"running": 7, "deleted": 2})
    fleets.mark_vms_deleted(uri, 1)
    [row] = fleets.page(uri, Filter())
    assert (row.machines, can_claim(uri, 2)) == ({"running": 0, "deleted": 9}, True)


def test_nothing_counts_after_its_deadline(uri: str):
    start(uri, 1, n_instances=10, max_lifetime=60.0)
    fits = can_claim(uri, 2)
    age(uri, 1, 1.1)
    assert (fits, can_claim(uri, 2)) == (False, True)


def test_abandoned_claim_counts_for_an_hour_and_again_if_repeated(uri: str):
    old = submission(1, n_instances=9, max_lifetime=86_400.0, max_vms=10)
    claims.claim(uri, old)
    fits = can_claim(uri, 2)
    age(uri, 1, 1.1)
    later = can_claim(uri, 2)
    with pytest.raises(claims.TooManyVms):
        claims.claim(uri, old)
    claims.delete(uri, 2)
    claims.claim(uri, old)
    assert (fits, later, claims.count_alive(uri, "us")) == (False, True, 9)


def test_without_a_table_no_vm_counts(benchmark_database: Benchmark):
    assert claims.count_alive(benchmark_database.postgres.uri("postgres"), "us") == 0


BAD_COUNTS = [
    {"wanted": "x", "running": "x"}, {"wanted": -100_000, "running": -100_000},
    {"wanted": 9_999_999_999, "running": 9_999_999_999}, {"wanted": 1.5, "running": 1.5},
    {"wanted": None, "running": None}, [1], "x",
]  # fmt: skip


@pytest.mark.parametrize("counts", BAD_COUNTS, ids=json.dumps)
@pytest.mark.parametrize("ended", [False, True])
def test_an_invalid_row_counts_at_most_its_claim(uri: str, counts: Any, ended: bool):
    start(uri, 1, n_instances=9, max_lifetime=7200.0)
    start(uri, 2, n_instances=2)
    if ended:
        end(uri, 1)
    values = json.dumps(counts), 1
    sql(uri, "UPDATE powerlift_fleet SET machines = %s WHERE batch_id = %s", *values)
    alive = claims.count_alive(uri, "us")
    assert 2 <= alive <= 11
    assert ended or alive == 11


def test_a_negative_claim_does_not_raise_the_limit(uri: str):
    start(uri, 1)
    sql(uri, "UPDATE powerlift_fleet SET n_instances = -100000")
    assert claims.count_alive(uri, "us") == 0


@pytest.mark.parametrize("last", [2**53, 2**63 - 1])
def test_numbers_continue_after_the_end_of_the_sequence(uri: str, last: int):
    start(uri, 7)
    sql(uri, "SELECT setval('powerlift_fleet_number', %s)", last)
    numbers = [start(uri, 2**52 + n).number for n in range(3)]
    assert numbers == [8, 9, 10]


def test_no_number_is_assigned_twice(uri: str):
    """Not even the number of a deleted claim: a user may have noted it."""
    numbers = []
    for batch_id in (2**52, 2**52 + 1):
        numbers.append(claims.claim(uri, submission(batch_id)).number)
        claims.delete(uri, batch_id)
    assert numbers == [1, 2]


@pytest.fixture
def reader(uri: str) -> Iterator[Any]:
    """A session of a role that may read the table of fleets, and holds all locks that it can."""
    sql(
        uri, "CREATE ROLE reader LOGIN PASSWORD 'secret'; GRANT SELECT ON powerlift_fleet TO reader"
    )
    database = psycopg2.connect(f"postgresql://reader:secret@{uri.partition('@')[2]}")
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('powerlift_fleet_number'))")
        cursor.execute("LOCK TABLE powerlift_fleet IN ACCESS SHARE MODE")
    yield database
    database.close()
    sql(uri, "DROP OWNED BY reader; DROP ROLE reader")


def test_a_role_without_write_access_cannot_block_submissions(uri: str, reader: Any):
    assert start(uri, 1).number == 1


@pytest.mark.parametrize("table", ["powerlift_fleet", "powerlift_fleet_schema"])
@pytest.mark.parametrize("lock", [claims._LOCK, schema._LOCK], ids=["claim", "migration"])
def test_a_read_only_role_cannot_take_the_apps_locks(uri: str, reader: Any, lock: str, table: str):
    sql(uri, "GRANT SELECT ON powerlift_fleet_schema TO reader")
    statement = re.sub("powerlift_fleet[a-z_]*", table, lock)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), reader.cursor() as cursor:
        cursor.execute(statement)


def test_running_fleets_do_not_wait_for_a_submission(uri: str, monkeypatch: pytest.MonkeyPatch):
    """A submission that does wait ends with a reason."""
    start(uri, 1)
    monkeypatch.setattr(database, "REQUEST_TIMEOUT", 0.5)
    with psycopg2.connect(uri) as other:
        other.cursor().execute(claims._LOCK)
        fleets.update(uri, 1, {"phase": "run"})
        with claims.leased(uri, 1) as lease:
            assert lease is not None
            lease.mark_started()
        with pytest.raises(DatabaseUnreachable, match="which sessions hold locks"):
            claims.claim(uri, submission(2))
        other.rollback()
    assert claims.claim(uri, submission(2)).number == 2
