"""The list of an experiment's trials, in a real database."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.store.trial_history import ERROR_TAIL, exception_line
from fleet.store.trial_list import MAX_MEASURES, TrialFilter, TrialRow, load_trials
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
