"""The list of an experiment's trials, in a real database."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest

from fleet.store import trial_measures
from fleet.store.trial_history import ERROR_TAIL, exception_line
from fleet.store.trial_list import TrialFilter, TrialRow, load_trials
from fleet.store.trial_measures import MAX_MEASURES
from tests.error_messages import ERROR_MESSAGES

FAILED, COMPLETE, RUNNING, READY = range(4)
"""Positions of the trials of `number`."""


@pytest.fixture
def uri(benchmark_database: Any) -> str:
    return str(benchmark_database.uri)


@pytest.fixture
def number(benchmark_database: Any) -> int:
    """An experiment with a trial in each state."""
    number = int(benchmark_database.experiment("", trials=4))
    ids = [one["id"] for one in benchmark_database.trials(number)]
    changes = {
        FAILED: "runner_id = -2, start_time = now(), end_time = now(), errmsg = 'KeyError: 1'",
        COMPLETE: "runner_id = -2, start_time = now(), end_time = now() + interval '90 s'",
        RUNNING: "runner_id = 70003, start_time = now()",
    }
    for place, change in changes.items():
        benchmark_database.sql(f"UPDATE trial SET {change} WHERE id = %s", ids[place])
    return number


def listed(uri: str, number: int, **wanted: Any) -> list[TrialRow]:
    return load_trials(uri, number, TrialFilter(**wanted))


def change(database: Any, number: int, place: int, what: str, *values: Any) -> None:
    trial = database.trials(number)[place]["id"]
    database.sql(f"UPDATE trial SET {what} WHERE id = %s", *values, trial)


@pytest.mark.parametrize("state", ["failed", "complete", "running", "ready"])
def test_trials_are_filtered_by_state(uri: str, number: int, state: str):
    every = {one.id: one.state for one in listed(uri, number)}
    found = [one.id for one in listed(uri, number, state=state)]
    assert found == [id_ for id_, its in every.items() if its == state]
    assert len(found) == 1


def test_pages_contain_every_trial_once(uri: str, number: int):
    whole = [one.id for one in listed(uri, number)]
    first = [one.id for one in listed(uri, number, limit=3)]
    rest = [one.id for one in listed(uri, number, limit=3, after=first[-1])]
    assert (first + rest, len(first)) == (whole, 3)


def test_a_trial_has_its_vm_and_its_duration(uri: str, number: int, benchmark_database: Any):
    complete = benchmark_database.trials(number)[COMPLETE]["id"]
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_trial VALUES (%s, %s, 70004)", complete, number
    )
    found = listed(uri, number)
    assert [one.runner_id for one in found] == [None, 70004, 70003, None]
    assert [one.seconds for one in found] == [0, 90, None, None]


def test_a_measure_has_its_latest_value(uri: str, number: int, benchmark_database: Any):
    trial = benchmark_database.trials(number)[COMPLETE]["id"]
    measured = [("score", 0, 0, "0.5"), ("score", 1, 0, "0.75"), ("note", 0, 1, "text"),
                ("bad", 0, 0, "many"), ("huge", 0, 0, "1e999"), ("seconds", 0, 0, "3")]  # fmt: skip
    for name, place, kind, value in measured:
        benchmark_database.sql(
            "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
            " VALUES (%s, %s, %s, %s, %s)",
            trial, name, place, kind, value,
        )  # fmt: skip
    assert list(listed(uri, number)[COMPLETE].measures.items()) == [("score", 0.75), ("seconds", 3)]


def test_a_trial_with_many_measures_hides_none_of_another(
    uri: str, number: int, benchmark_database: Any
):
    for trial in benchmark_database.trials(number)[:2]:
        benchmark_database.sql(
            "INSERT INTO measure_outcome (trial_id, name, seq_num, type, val)"
            " SELECT %s, 'm' || n, 0, 0, n::text FROM generate_series(1, 50) AS n",
            trial["id"],
        )
    found = [len(one.measures) for one in listed(uri, number)]
    assert found == [MAX_MEASURES, MAX_MEASURES, 0, 0]


@pytest.mark.parametrize("time", ["infinity", "-infinity", "294276-12-31", "0044-01-01 BC"])
def test_an_impossible_time_is_unknown(uri: str, number: int, benchmark_database: Any, time: str):
    """Every trial can write its own times."""
    change(benchmark_database, number, COMPLETE, "start_time = %s, end_time = %s", time, time)
    found = listed(uri, number)[COMPLETE]
    assert (found.started_at, found.ended_at) == (None, None)


def test_a_cut_error_begins_with_a_whole_line(uri: str, number: int, benchmark_database: Any):
    """Half a password would not be redacted."""
    text = "first " + "x" * ERROR_TAIL + " of a line\nValueError: no"
    change(benchmark_database, number, FAILED, "errmsg = %s", text)
    assert listed(uri, number)[FAILED].error == "…\nValueError: no"


@pytest.mark.parametrize(("text", "shown"), ERROR_MESSAGES)
def test_an_error_is_shown_as_its_exceptions_message(text: str, shown: str):
    assert exception_line(text.rstrip()) == shown


def measure(database: Any, trial: int, name: str, value: str, ago: str) -> None:
    """Insert a measure, as of this long ago."""
    database.sql(
        'INSERT INTO measure_outcome (trial_id, name, seq_num, type, val, "timestamp")'
        " VALUES (%s, %s, 0, 0, %s, now() - %s::interval)",
        trial, name, value, ago,
    )  # fmt: skip


def begin_and_end(database: Any, number: int, place: int, began: str, ended: str | None) -> int:
    """Set when a trial began and ended, as of now. Returns its ID."""
    times = "start_time = now() - %s::interval, end_time = now() - %s::interval"
    change(database, number, place, times, began, ended)
    return int(database.trials(number)[place]["id"])


def test_measures_are_found_by_the_times_of_their_trials(
    uri: str, number: int, benchmark_database: Any
):
    """Those of the other trials are not searched: a row outside of every trial's time is not found."""
    benchmark_database.sql("DELETE FROM measure_outcome")
    spans = [("9 h", "8 h"), ("5 h", "4 h"), ("2 h", None)]
    trials = [
        begin_and_end(benchmark_database, number, place, *span) for place, span in enumerate(spans)
    ]
    for trial, ago in [(0, "8.5 h"), (1, "6 h"), (1, "4.5 h"), (1, "3 h"), (2, "1 h")]:
        measure(benchmark_database, trials[trial], ago, "1", ago)
    assert [list(one.measures) for one in listed(uri, number)] == [
        ["8.5 h"],
        ["4.5 h"],
        ["1 h"],
        [],
    ]


def test_measures_whose_times_do_not_ascend_are_found(
    uri: str, number: int, benchmark_database: Any
):
    """As after a copy from another database."""
    benchmark_database.sql("DELETE FROM measure_outcome")
    trial = begin_and_end(benchmark_database, number, COMPLETE, "9 h", "8 h")
    for name, ago in (("other", "1 h"), ("next", "1 min"), ("copied", "8.5 h")):
        measure(benchmark_database, trial if name == "copied" else trial + 1, name, "1", ago)
    found = [one for one in listed(uri, number, state="complete") if one.id == trial]
    assert [one.measures for one in found] == [{"copied": 1.0}]


def measures_read(database: Any, number: int, **wanted: Any) -> int:
    """How many rows of measure_outcome the list of these trials reads.

    In a new session: PostgreSQL may count the reads of a session's earlier transactions, too.
    """
    ids = [one.id for one in listed(database.uri, number, **wanted)]
    with closing(psycopg2.connect(database.uri)) as session, session.cursor() as cursor:
        trial_measures.load_measures(cursor, ids)
        cursor.execute(
            "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)"
            " FROM pg_stat_xact_user_tables WHERE relname = 'measure_outcome'"
        )
        return int(cursor.fetchall()[0][0])


@pytest.fixture
def foreign(benchmark_database: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Measures of another experiment in the last two days, of which a page may read a tenth."""
    count = 20_000
    benchmark_database.sql("DELETE FROM measure_outcome")
    other = benchmark_database.experiment("", trials=1)
    trial = benchmark_database.trials(other)[0]["id"]
    benchmark_database.sql(
        'INSERT INTO measure_outcome (trial_id, name, seq_num, type, val, "timestamp")'
        " SELECT %s, 'm', 0, 0, '1', now() - (%s - n) * interval '48 h' / %s"
        " FROM generate_series(1, %s) AS n",
        trial, count, count, count,
    )  # fmt: skip
    benchmark_database.sql("ANALYZE measure_outcome")
    monkeypatch.setattr(trial_measures, "MAX_IDS", count // 10)
    return count


@pytest.mark.parametrize("state", ["failed", "running", "ready"])
def test_trials_without_measures_read_none_of_the_others(
    number: int, benchmark_database: Any, foreign: int, state: str
):
    assert measures_read(benchmark_database, number, state=state) < foreign / 20


@pytest.mark.parametrize(
    "times",
    [
        "start_time = '0001-01-01', end_time = NULL",
        "start_time = '0001-01-01', end_time = 'infinity'",
        "start_time = now() - interval '47 h', end_time = now()",
    ],
)
@pytest.mark.parametrize("state", ["errmsg = NULL", "errmsg = 'no'"])
def test_a_forged_time_reads_no_whole_table_and_hides_no_other_trial(
    uri: str, number: int, benchmark_database: Any, foreign: int, times: str, state: str
):
    honest = begin_and_end(benchmark_database, number, COMPLETE, "0 h", "0 h")
    measure(benchmark_database, honest, "score", "1", "0 h")
    change(benchmark_database, number, RUNNING, f"{times}, {state}")
    assert listed(uri, number)[COMPLETE].measures == {"score": 1.0}
    assert measures_read(benchmark_database, number) < foreign / 4


def test_complete_trials_without_measures_read_no_whole_table(
    number: int, benchmark_database: Any, foreign: int
):
    assert measures_read(benchmark_database, number, state="complete") < foreign / 4


def note(database: Any, number: int, place: int, runner: int, **values: Any) -> None:
    """Record which VM ran a trial, and what it used."""
    trial = database.trials(number)[place]["id"]
    names = "".join(f", {name}" for name in values)
    database.sql(
        f"INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id{names})"
        f" VALUES (%s, %s, %s{', %s' * len(values)})",
        trial, number, runner, *values.values(),
    )  # fmt: skip


@pytest.fixture
def vm(number: int, benchmark_database: Any) -> int:
    """The runner ID of a VM that has reported."""
    benchmark_database.sql(
        "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, vm_name, cpu_model, cpus,"
        " kernel) VALUES (%s, 80001, 'powerlift-vm-8-0001', 'EPYC 7763', -2, '6.8')",
        number,
    )
    return 80001


def test_a_trial_has_what_it_used_and_its_vm(
    uri: str, number: int, vm: int, benchmark_database: Any
):
    used = {"wall_seconds": 2.5, "user_seconds": "NaN", "steal_seconds": -1, "max_rss_bytes": 1000}
    note(benchmark_database, number, COMPLETE, vm, **used, measured_at="infinity")
    complete = listed(uri, number)[COMPLETE]
    assert complete.usage == {
        "wall_seconds": 2.5, "user_seconds": None, "system_seconds": None, "steal_seconds": None,
        "max_rss_bytes": 1000,
    }  # fmt: skip
    assert complete.vm is not None
    reported = {name: value for name, value in complete.vm["system"].items() if value is not None}
    assert complete.vm["name"] == "powerlift-vm-8-0001"
    assert reported == {"cpu_model": "EPYC 7763", "kernel": "6.8"}


@pytest.mark.parametrize("seconds", ["1e308", "Infinity", "1000000001", "-1", "NaN"])
@pytest.mark.parametrize("bytes_", [2**63 - 1, 2**50 + 1, -1])
def test_an_impossible_usage_is_unknown(
    uri: str, number: int, vm: int, benchmark_database: Any, seconds: str, bytes_: int
):
    """A VM can write any number; the sum of two may be infinite."""
    kinds = ("wall", "user", "system", "steal")
    used = {**{f"{kind}_seconds": seconds for kind in kinds}, "max_rss_bytes": bytes_}
    note(benchmark_database, number, COMPLETE, vm, **used, measured_at="infinity")
    usage = listed(uri, number)[COMPLETE].usage
    assert usage == dict.fromkeys(used)


def test_a_trial_that_runs_again_has_nothing_of_its_first_run(
    uri: str, number: int, vm: int, benchmark_database: Any
):
    note(benchmark_database, number, RUNNING, vm, wall_seconds=2.5, measured_at="infinity")
    running = listed(uri, number)[RUNNING]
    assert (running.usage, running.vm) == (None, None)


def test_trials_are_listed_without_the_columns_of_a_newer_app(
    uri: str, number: int, vm: int, benchmark_database: Any
):
    note(benchmark_database, number, COMPLETE, vm)
    rename = "ALTER TABLE powerlift_fleet_trial RENAME COLUMN {} TO {}"
    benchmark_database.sql(rename.format("measured_at", "away"))
    try:
        complete = listed(uri, number)[COMPLETE]
    finally:
        benchmark_database.sql(rename.format("away", "measured_at"))
    assert (complete.runner_id, complete.usage, complete.vm) == (vm, None, None)
