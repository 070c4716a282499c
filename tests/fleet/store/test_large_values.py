"""Large values that VMs and trials write cost the app little, as measured on the connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fleet.model import names
from fleet.model.records import Order, stored
from fleet.store import heartbeats, trial_history, trial_list, trials, vm_logs, vm_records
from fleet.store.database import JSON_LIMIT, OUTCOME_LIMIT
from fleet.store.trials import MAX_HELD
from tests.fleet.conftest import Benchmark
from tests.fleets import later, machine, order
from tests.relay import Relay

BATCH, BEGAN = 480, "2026-01-01T00:00:00.000000Z"
LARGE = 20_000_000
MUCH = 100_000
"""Bytes, of rows and their descriptions."""
FIRST = names.runner_id(BATCH, 0)
RECORDS = {
    0: (LARGE, {"state": "failed"}),
    1: (LARGE, {"state": "running"}),
    2: (500_000, {"state": "failed"}),  # compressed to less than JSON_LIMIT
}
"""The size and the rest of a record."""


@pytest.fixture(scope="module")
def fleet(benchmark_database: Benchmark) -> Order:
    """A fleet of four VMs, of which three have written as much as they can."""
    sql = benchmark_database.sql
    experiment = benchmark_database.experiment("", trials=2)
    made = order(batch_id=BATCH, created_at=BEGAN, experiment_id=experiment)
    vm_records.write(benchmark_database.uri, made, [stored(machine(3))], later(0).isoformat())
    insert = (
        "INSERT INTO powerlift_fleet_machine SELECT %s, %s, %s, %s, %s + %s,"
        " %s::jsonb || jsonb_build_object('running_at', repeat('x', %s)), '2026-01-01'"
    )
    for ordinal, (size, rest) in RECORDS.items():
        record = json.dumps({**stored(machine(ordinal)), **rest})
        sql(insert, BATCH, BEGAN, ordinal, experiment, FIRST, ordinal, record, size)
    sql(
        "INSERT INTO powerlift_fleet_machine"
        " SELECT %s, %s, n, %s, n, '{\"state\": \"running\", \"running_at\": \"\"}', '2026-01-01'"
        " FROM generate_series(10000, 110000) AS n",
        BATCH, BEGAN, experiment,
    )  # fmt: skip
    sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, kernel, outcome, log, exit_code)"
        " SELECT %s, %s, '', repeat('o', %s), repeat('l', %s) || 'end', 1",
        experiment, FIRST + 2, LARGE, LARGE,
    )  # fmt: skip
    sql(
        "UPDATE trial SET end_time = %s::timestamptz, errmsg = repeat('e', %s), meta = repeat('m', %s)"
        " WHERE experiment_id = %s",
        later(0.5), LARGE, LARGE, experiment,
    )  # fmt: skip
    sql(
        "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
        " SELECT id, 'm', 0, 0, repeat('1', %s) FROM trial WHERE experiment_id = %s",
        LARGE, experiment,
    )  # fmt: skip
    return made


@pytest.fixture
def relay(benchmark_database: Benchmark) -> Iterator[Relay]:
    with Relay(benchmark_database.uri) as relay:
        yield relay


QUERIES: dict[str, Callable[[str, Order], Any]] = {
    "records": vm_records.read,
    "records_before": lambda uri, fleet: vm_records.write(
        uri, fleet, [{**stored(machine(n)), "name": "late"} for n in RECORDS], "2025-01-01"
    ),
    "log": lambda uri, fleet: vm_logs.find_log(uri, fleet["experiment_id"], FIRST + 2),
    "idle": heartbeats.find_idle,
    "ends": lambda uri, fleet: heartbeats.record_ends(uri, fleet, {2: "deleted"}),
    "history": lambda uri, fleet: trial_history.load_history(
        uri, fleet["experiment_id"], BEGAN, later(1).isoformat()
    ),
    "trials": lambda uri, fleet: trial_list.load_trials(
        uri, fleet["experiment_id"], trial_list.TrialFilter()
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("query", QUERIES)
def test_large_values_are_not_fetched(relay: Relay, fleet: Order, query: str):
    QUERIES[query](relay.uri, fleet)
    assert relay.received < MUCH


@pytest.mark.long
def test_a_large_record_affects_only_itself(benchmark_database: Benchmark, fleet: Order):
    found = vm_records.read(benchmark_database.uri, fleet)
    outcome = found.reports[2].outcome
    assert (found.machines, outcome) == ({3: stored(machine(3))}, "o" * (OUTCOME_LIMIT - 1) + "…")


def test_the_end_of_a_large_log_is_shown(benchmark_database: Benchmark, fleet: Order):
    found = vm_logs.find_log(benchmark_database.uri, fleet["experiment_id"], FIRST + 2)
    assert found is not None
    assert found.log == "l" * (vm_logs.LIMIT - 3) + "end"


def test_a_large_error_is_counted_by_its_size(benchmark_database: Benchmark, fleet: Order):
    """PostgreSQL would decompress each error to find its last line, which takes a second."""
    found = trial_history.load_history(
        benchmark_database.uri, fleet["experiment_id"], BEGAN, later(1).isoformat()
    )
    assert list(found.error_messages) == [("Error text of 20 MB", 2)]


def test_the_longest_record_of_the_app_is_read(benchmark_database: Benchmark):
    """With the characters that are longest in JSON."""
    other = order(batch_id=BATCH + 1, created_at=BEGAN)
    ended = {"code": "C" * 80, "message": "\N{EURO SIGN}" * 400, "next": "n" * 300}
    record: Any = {**stored(machine(0)), "ended": ended}
    vm_records.write(benchmark_database.uri, other, [record], later(0).isoformat())
    assert len(json.dumps(record)) < JSON_LIMIT
    assert vm_records.read(benchmark_database.uri, other).machines == {0: record}


def test_thousands_of_claimed_trials_are_requeued_in_batches(
    benchmark_database: Benchmark,
):
    uri, experiment = benchmark_database.uri, benchmark_database.experiment("", trials=1)
    more = 10
    benchmark_database.sql(
        "INSERT INTO trial (experiment_id, task_id, replicate_num, method, meta, runner_id)"
        " SELECT experiment_id, task_id, n, method, meta, %s"
        " FROM trial, generate_series(1, %s) AS n WHERE experiment_id = %s",
        FIRST, MAX_HELD + more, experiment,
    )  # fmt: skip
    held = "SELECT count(*) FROM trial WHERE experiment_id = %s AND runner_id = %s"
    left = []
    for _ in range(2):
        trials.release(uri, experiment, [FIRST])
        left += benchmark_database.sql(held, experiment, FIRST)
    assert left == [(more,), (0,)]
