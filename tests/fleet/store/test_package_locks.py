"""Locks of packages in the benchmark's and the app's database, with a real server."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model.requirements_lock import digest, lock_key
from fleet.store import package_locks
from fleet.store.package_locks import LockNotStored
from tests.fleet.conftest import Benchmark
from tests.fleets import order

TEXT = "lib==1\n"


def stored(database: Any, sealed: str, text: str, architecture: str = "x64") -> None:
    database.sql(
        "INSERT INTO powerlift_fleet_lock (key, digest, requirements, python, runner_id)"
        " VALUES (%s, 'forged', %s, '3.12.3', 70002)",
        *(lock_key(sealed, architecture), text),
    )


def test_a_fleet_has_the_locks_under_its_keys(benchmark_database: Any):
    for sealed, text, architecture in (
        ("mine", TEXT, "x64"), ("mine", "lib==2\n", "Arm64"), ("other", "evil==1\n", "x64"),
    ):  # fmt: skip
        stored(benchmark_database, sealed, text, architecture)

    found = package_locks.find(benchmark_database.uri, order(sealed="mine"))

    assert [(one.architecture, one.requirements, one.digest) for one in found] == [
        ("Arm64", "lib==2\n", digest("lib==2\n")),
        ("x64", TEXT, digest(TEXT)),
    ]


def test_a_database_without_the_table_has_no_locks(database: Benchmark):
    assert package_locks.find(database.uri, order(sealed="mine")) == []


@pytest.fixture
def own_uri(uri: str) -> str:
    """An app's database with a claimed fleet."""
    with package_locks.transaction(uri) as cursor:
        cursor.execute(
            "INSERT INTO powerlift_fleet (owner, deadline, batch_id, number, submitted_by, fingerprint,"
            " experiment_id, n_instances, account) VALUES ('us', now(), 7, 7, 'me', 'f', 1, 1, 'a')"
        )
        package_locks.keep(cursor, 7, TEXT)
    return uri


def test_the_lock_of_a_request_reaches_the_vms_of_both_architectures(
    own_uri: str, benchmark_database: Any
):
    mine = order(sealed="with a lock")
    for _ in range(2):  # an activity may run twice
        package_locks.provide(own_uri, benchmark_database.uri, mine, digest(TEXT))
    found = package_locks.find(benchmark_database.uri, mine)
    assert [(one.requirements, one.runner_id) for one in found] == [(TEXT, None)] * 2


def test_a_lock_that_was_changed_in_the_apps_database_is_not_used(
    own_uri: str, benchmark_database: Any
):
    mine = order(sealed="with another lock")
    with pytest.raises(LockNotStored, match="lost"):
        package_locks.provide(own_uri, benchmark_database.uri, mine, digest("lib==3\n"))
    assert package_locks.find(benchmark_database.uri, mine) == []


def test_without_the_table_a_lock_is_refused(own_uri: str, database: Benchmark):
    with pytest.raises(LockNotStored, match="no powerlift_fleet_lock") as refused:
        package_locks.provide(own_uri, database.uri, order(sealed="x"), digest(TEXT))
    assert refused.value.failure["action"] == "fail_fleet"


def test_a_purge_deletes_the_locks_of_the_fleet_only(benchmark_database: Any):
    for sealed in ("purged", "kept"):
        stored(benchmark_database, sealed, TEXT)
    with package_locks.transaction(benchmark_database.uri) as cursor:
        package_locks.purge(cursor, order(sealed="purged"))
    counts = [
        len(package_locks.find(benchmark_database.uri, order(sealed=one)))
        for one in ("purged", "kept")
    ]
    assert counts == [0, 1]
