"""VM records in the benchmark's database, with a real server."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from fleet.model.names import runner_id
from fleet.model.records import Order, StoredVm, stored
from fleet.store.database import DatabaseUnreachable
from fleet.store.schema import BENCHMARK
from fleet.store.vm_records import conflicting_batch, read, write
from tests.fleets import later, machine, order

BEGAN = "2026-01-01T00:00:00.000000Z"
_batches = itertools.count(500)


@pytest.fixture
def fleet() -> Order:
    """An order of a batch that no other test has."""
    return order(batch_id=next(_batches), created_at=BEGAN)


@pytest.fixture
def uri(benchmark_database: Any) -> str:
    return str(benchmark_database.uri)


def at(seconds: float) -> str:
    return later(seconds).isoformat()


def test_written_records_are_read(uri: str, fleet: Order):
    write(uri, fleet, [stored(machine(0)), stored(machine(3))], at(0))
    assert read(uri, fleet).machines == {0: stored(machine(0)), 3: stored(machine(3))}


def test_write_returns_the_previous_records(uri: str, fleet: Order):
    first = write(uri, fleet, [stored(machine(0))], at(0))
    second = write(uri, fleet, [stored(machine(0, "running"))], at(1))
    assert (first, second) == ({}, {0: stored(machine(0))})


def test_a_late_retry_changes_nothing(uri: str, fleet: Order):
    write(uri, fleet, [stored(machine(0, "running"))], at(1))
    write(uri, fleet, [stored(machine(0, "creating"))], at(0))
    assert read(uri, fleet).machines[0]["state"] == "running"


def test_a_reused_batch_id_is_a_different_fleet(uri: str, fleet: Order):
    write(uri, fleet, [stored(machine(0))], at(0))
    again: Any = {**fleet, "created_at": "2026-02-01T00:00:00Z"}
    assert read(uri, again).machines == {}


def test_invalid_records_are_ignored_with_a_warning(
    uri: str, fleet: Order, caplog: pytest.LogCaptureFixture
):
    bad: Any = {"ordinal": 7}
    write(uri, fleet, [stored(machine(0)), bad], at(0))
    before = write(uri, fleet, [stored(machine(0)), bad], at(0))
    assert (before, read(uri, fleet).machines) == ({0: stored(machine(0))},) * 2
    assert "Ignored 1 invalid VM records: ordinals 7" in caplog.text


@pytest.mark.parametrize(
    ("ended", "noted_of", "counted"),
    [(None, 0, 1), ("1 hour", 0, 1), ("-1 hour", 0, 0), (None, 1, 0)],
    ids=["running", "ended after it", "ended before it was created", "of another experiment"],
)
def test_trials_of_recreated_tables_are_not_those_of_a_former_vm(
    uri: str, fleet: Order, benchmark_database: Any, ended: str | None, noted_of: int, counted: int
):
    """`Store(force_recreate=True)` starts the IDs of trials and experiments again; our rows stay."""
    number = benchmark_database.experiment("", trials=1)
    shown, runner = number + 10**6 * noted_of, runner_id(fleet["batch_id"], 0)
    for statement in (
        "UPDATE trial SET runner_id = -2, end_time = now() WHERE experiment_id = %s",
        f"INSERT INTO powerlift_fleet_trial SELECT id, {shown}, {runner} FROM trial"
        " WHERE experiment_id = %s",
    ):
        benchmark_database.sql(statement, number)
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, ended_at)"
        " VALUES (%s, %s, now() + %s::interval)",
        *(shown, runner, ended),
    )
    reports = read(uri, {**fleet, "experiment_id": shown}).reports.values()
    assert sum(report.complete for report in reports) == counted


@pytest.mark.parametrize(
    ("starts", "first"),
    [
        (["2026-01-01 00:00:09", "2026-01-01 00:00:05"], "2026-01-01 00:00:05"),
        ([None, "2026-01-01 00:00:05"], "2026-01-01 00:00:05"),
        ([None], None),
        (["infinity"], None),
    ],
)
def test_the_first_trial_of_a_vm_has_a_time(
    uri: str, fleet: Order, benchmark_database: Any, starts: list[str | None], first: str | None
):
    number = benchmark_database.experiment("", trials=len(starts))
    runner = runner_id(fleet["batch_id"], 0)
    trials = "SELECT id FROM trial WHERE experiment_id = %s ORDER BY id"
    for (trial,), start in zip(benchmark_database.sql(trials, number), starts, strict=True):
        benchmark_database.sql("UPDATE trial SET start_time = %s WHERE id = %s", start, trial)
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_trial VALUES (%s, %s, %s)", trial, number, runner
        )
    [(expected,)] = benchmark_database.sql("SELECT %s::timestamp::timestamptz", first)
    report = read(uri, {**fleet, "experiment_id": number}).reports[0]
    assert report.first_trial_at == expected


def test_no_identity_is_kept():
    assert stored(machine(0)).keys() == StoredVm.__annotations__.keys()


def test_a_batch_id_has_64_bits(uri: str, fleet: Order):
    """Upstream draws batch IDs of 64 bits."""
    largest: Order = {**fleet, "batch_id": 2**64 - 1}
    write(uri, largest, [stored(machine(0))], at(0))
    meets: Order = {**largest, "batch_id": largest["batch_id"] % 214_000}
    found = (read(uri, largest).machines, conflicting_batch(uri, meets))
    assert found == ({0: stored(machine(0))}, largest["batch_id"])


def test_a_batch_without_a_number_has_no_conflict(uri: str, fleet: Order, benchmark_database: Any):
    write(uri, fleet, [stored(machine(0))], at(0))
    number = fleet["batch_id"]
    forged = "UPDATE powerlift_fleet_machine SET batch_id = 'NaN' WHERE batch_id = %s"
    benchmark_database.sql(forged, number)
    assert conflicting_batch(uri, fleet) is None


def test_an_unreachable_database_is_reported():
    with pytest.raises(DatabaseUnreachable):
        read("postgresql://me:hidden@127.0.0.1:1/powerlift", order())


def test_a_vm_reports_its_system_in_bounded_texts(uri: str, fleet: Order, benchmark_database: Any):
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, kernel, cpu_model, cpus, python)"
        " VALUES (%s, %s, '6.8', repeat('x', 10000), -1, '3.12.3')",
        *(fleet["experiment_id"], runner_id(fleet["batch_id"], 2)),
    )
    system = read(uri, fleet).reports[2].system
    assert system is not None
    assert (system["cpu_model"], system["cpus"], system["python"]) == ("x" * 256, None, "3.12.3")
    assert (system["kernel"], system["lock_digest"]) == ("6.8", None)


def test_a_database_that_could_not_be_migrated_has_no_systems(fleet: Order, database: Any):
    database.sql(BENCHMARK.migrations[0].read_text())
    database.sql("INSERT INTO powerlift_fleet_runner (experiment_id, runner_id) VALUES (%s, %s)",
                 *(fleet["experiment_id"], runner_id(fleet["batch_id"], 2)))  # fmt: skip
    assert read(database.uri, fleet).reports[2].system is None
