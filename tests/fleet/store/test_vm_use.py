"""What VMs report to have used: read from rows that any VM may write, and from older tables."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model.names import runner_id
from fleet.model.right_sizing import VmUse
from fleet.store import vm_use
from fleet.store.schema import BENCHMARK, migrate
from tests.fleet.conftest import Benchmark
from tests.fleets import order

COLUMNS = "cpus, memory_bytes, used_vcpus, used_memory_bytes, started_at"
FLEET = order(batch_id=7, experiment_id=1, created_at="2026-11-25T12:00:00Z")


def write(database: Benchmark, ordinal: int, values: str) -> None:
    statement = f"""INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, {COLUMNS})
                    VALUES (1, %s, {values})"""
    database.sql(statement, runner_id(7, ordinal))


@pytest.mark.parametrize(
    "impossible",
    [
        "4, 100, 4.5, 50, now()", "4, 100, -1, 50, now()", "4, 100, 'NaN', 50, now()",
        "4, 100, 1, 101, now()", "4, 100, 1, 0, now()", "0, 100, 0, 50, now()",
        "4, 100, NULL, NULL, now()",
        "4, 100, 1, 50, '2026-11-25T11:00:00Z'",  # of an earlier fleet
    ],
)  # fmt: skip
def test_only_possible_values_of_this_fleet_are_read(database: Benchmark, impossible: str):
    migrate(database.uri, BENCHMARK)
    write(database, 0, "4, 100, 1.5, 50, now()")
    write(database, 1, impossible)
    assert vm_use.read(database.uri, FLEET) == {0: VmUse(4, 100, 1.5, 50)}


@pytest.mark.parametrize("table", ["", "CREATE TABLE powerlift_fleet_runner (runner_id integer)"])
def test_older_tables_have_no_use(database: Benchmark, table: Any):
    if table:
        database.sql(table)
    assert vm_use.read(database.uri, FLEET) == {}
