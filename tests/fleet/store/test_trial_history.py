"""The history of an experiment's trials, in a real database."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.store import database
from fleet.store.database import DatabaseUnreachable
from fleet.store.idle_connections import IdleConnections
from fleet.store.trial_history import ERROR_TAIL, POINTS, load_history
from tests.error_messages import ERROR_MESSAGES
from tests.fleets import NOW, later

BEGAN = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def uri(benchmark_database: Any) -> str:
    return str(benchmark_database.uri)


def at(seconds: float) -> str:
    return later(seconds).isoformat()


@pytest.fixture
def ends(benchmark_database: Any) -> Any:
    """Makes an experiment of five trials, some of which ended at the given seconds after NOW; all of
    them started at `began`.
    """

    def make(*seconds: float, failed: int = 0, began: float = 0.0) -> int:
        number: int = benchmark_database.experiment("", trials=5)
        open_ = benchmark_database.trials(number)
        for count, (trial, second) in enumerate(zip(open_, seconds, strict=False)):
            statement = (
                "UPDATE trial SET runner_id = -2, start_time = %s::timestamptz,"
                " end_time = %s::timestamptz, errmsg = %s WHERE id = %s"
            )
            why = "it failed" if count < failed else None
            benchmark_database.sql(statement, later(began), later(second), why, trial["id"])
        return number

    return make


def test_trials_are_counted_by_the_time_of_their_end(uri: str, ends: Any):
    found = load_history(uri, ends(0.5, 1.5, 2.5), BEGAN, at(4))
    assert (found.step, list(found.complete)) == (1.0, [0, 1, 2, 3, 3])


def test_trials_that_ended_earlier_are_counted_separately(uri: str, ends: Any):
    assert list(load_history(uri, ends(-60, 0.5), BEGAN, at(2)).complete) == [1, 1, 1]


def test_failed_trials_are_counted_separately(uri: str, ends: Any):
    found = load_history(uri, ends(0.5, 0.6, failed=1), BEGAN, at(1))
    assert (list(found.complete), list(found.error)) == ([0, 1], [0, 1])


@pytest.mark.parametrize("failed", [0, 2])
def test_trials_of_a_later_fleet_are_ready(
    uri: str, ends: Any, benchmark_database: Any, failed: int
):
    number = ends(100, 100.5, failed=failed, began=3)
    statement = "UPDATE trial SET runner_id = 7, start_time = %s::timestamptz WHERE id = %s"
    benchmark_database.sql(statement, later(3), benchmark_database.trials(number)[4]["id"])
    found, now = (load_history(uri, number, BEGAN, end) for end in (at(2), None))
    assert found.trials == {"total": 5, "ready": 5, "running": 0, "complete": 0, "error": 0}
    assert (list(found.complete), list(found.error)) == ([0, 0, 0], [0, 0, 0])
    assert (found.error_messages, now.trials["error"], now.trials["running"]) == ([], failed, 1)


def test_trials_of_the_fleet_that_end_after_it_are_counted(uri: str, ends: Any):
    """Its orchestration may end before its VMs do."""
    found = load_history(uri, ends(0.5, 100), BEGAN, at(2))
    assert (found.trials["complete"], list(found.complete)) == (2, [0, 1, 2])


def test_the_counts_add_up(uri: str, ends: Any):
    expected = {"total": 5, "ready": 3, "running": 0, "complete": 1, "error": 1}
    assert load_history(uri, ends(1, 2, failed=1), BEGAN, at(3)).trials == expected


@pytest.mark.parametrize("seconds", [245, 7 * 86400])  # 245 / (245 / 240) is above 240
def test_a_long_fleet_has_no_more_points_than_a_short_one(uri: str, ends: Any, seconds: int):
    before, *points = load_history(uri, ends(1), BEGAN, at(seconds)).complete
    assert (before, len(points)) == (0, POINTS)


@pytest.mark.parametrize(
    ("end", "complete"),
    [
        ("infinity", [0, 1]),
        ("294276-12-31 23:59:59", [0, 1]),
        ("20000-01-01", [0, 1]),
        ("-infinity", [1, 0]),
        ("0044-01-01 BC", [1, 0]),
    ],
)
def test_an_infinite_end_time_hides_no_progress(
    uri: str, ends: Any, benchmark_database: Any, end: str, complete: list[int]
):
    """Every trial can write its own end time."""
    number = ends()
    fail(benchmark_database, number, "KeyError")
    benchmark_database.sql(
        "UPDATE trial SET end_time = %s WHERE id ="
        " (SELECT max(id) FROM trial WHERE experiment_id = %s)",
        end,
        number,
    )
    found = load_history(uri, number, BEGAN, at(1))
    assert [list(found.complete), list(found.error)] == [complete, [0, 1]]


def test_the_zone_of_the_server_does_not_matter(
    uri: str, ends: Any, benchmark_database: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database, "_IDLE", IdleConnections())  # they keep their zone
    benchmark_database.sql("ALTER ROLE CURRENT_USER SET TimeZone = 'Asia/Tokyo'")
    try:
        assert list(load_history(uri, ends(0.5), BEGAN, at(1)).complete) == [0, 1]
    finally:
        benchmark_database.sql("ALTER ROLE CURRENT_USER RESET TimeZone")


def test_options_in_the_uri_are_respected(uri: str, benchmark_database: Any):
    """For example, Powerlift's tables may be in a separate schema."""
    with pytest.raises(DatabaseUnreachable, match="no Powerlift tables"):
        load_history(f"{uri}?options=-csearch_path%3Dnowhere", 1, BEGAN, at(1))


def fail(database: Any, number: int, *errors: str, second: float = 0.5) -> None:
    """Trials of the experiment end with these errors."""
    for trial, error in zip(database.trials(number), errors, strict=False):
        database.sql(
            "UPDATE trial SET runner_id = -2, start_time = %s::timestamptz,"
            " end_time = %s::timestamptz, errmsg = %s WHERE id = %s",
            NOW,
            later(second),
            error,
            trial["id"],
        )


def test_errors_are_grouped_by_their_message(uri: str, ends: Any, benchmark_database: Any):
    number = ends()
    trace = 'Traceback (most recent call last):\n  File "x"\nValueError: no\n(see there)\n\n'
    fail(benchmark_database, number, trace, trace, "KeyError: 'a'")
    assert list(load_history(uri, number, BEGAN, at(1)).error_messages) == [
        ("ValueError: no", 2),
        ("KeyError: 'a'", 1),
    ]


@pytest.mark.parametrize(("text", "shown"), ERROR_MESSAGES)
def test_an_error_is_shown_as_its_exceptions_message(
    uri: str, ends: Any, benchmark_database: Any, text: str, shown: str
):
    number = ends()
    fail(benchmark_database, number, text)
    assert list(load_history(uri, number, BEGAN, at(1)).error_messages) == [(shown, 1)]


def test_errors_that_differ_in_numbers_alone_are_one(uri: str, ends: Any, benchmark_database: Any):
    number = ends()
    fail(benchmark_database, number, "killed at 8.01 GiB", "killed at 8.35 GiB", "")
    assert list(load_history(uri, number, BEGAN, at(1)).error_messages) == [
        ("killed at 8.01 GiB", 2),
        ("", 1),
    ]


def test_errors_of_an_earlier_fleet_are_excluded(uri: str, ends: Any, benchmark_database: Any):
    number = ends()
    fail(benchmark_database, number, "KeyError", second=-60)
    assert list(load_history(uri, number, BEGAN, at(1)).error_messages) == []


def test_a_long_line_is_truncated_at_its_start(uri: str, ends: Any, benchmark_database: Any):
    """And begins with a whole word: half a password would not be recognised."""
    number = ends()
    fail(benchmark_database, number, "s3cr3t " * ERROR_TAIL + "the end")
    [(line, _)] = load_history(uri, number, BEGAN, at(1)).error_messages
    assert (ERROR_TAIL - 7 < len(line) < ERROR_TAIL, line[:6], line[-7:]) == (
        True,
        "s3cr3t",
        "the end",
    )


def test_an_experiment_has_its_name(uri: str, ends: Any):
    assert str(load_history(uri, ends(), BEGAN, at(1)).experiment).startswith("experiment ")


def test_a_deleted_experiment_has_no_history(uri: str):
    found = load_history(uri, 999_999, BEGAN, at(1))
    assert (found.experiment, found.trials["total"]) == (None, 0)


def test_the_processors_that_ran_successful_trials_are_listed(
    benchmark_database: Any, uri: str, ends: Any
):
    number = ends(0.5, 1.5, 2.5, 3.5, failed=1)
    trials = benchmark_database.trials(number)
    for runner, model in ((1, "AMD"), (2, "Intel"), (3, "Arm"), (4, None)):
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, cpu_model)"
            " VALUES (%s, %s, %s)",
            number, runner, model,
        )  # fmt: skip
    # The failed trial, two on one VM, one on a VM whose model is unknown, and one that runs.
    for trial, runner in zip(trials, (3, 1, 1, 4, 2), strict=True):
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_trial VALUES (%s, %s, %s)", trial["id"], number, runner
        )
    assert list(load_history(uri, number, BEGAN, at(9)).cpu_models) == [("AMD", 1, 2)]
    benchmark_database.sql("UPDATE trial SET end_time = now() WHERE id = %s", trials[4]["id"])
    found = list(load_history(uri, number, BEGAN, at(9)).cpu_models)
    assert found == [("AMD", 1, 2), ("Intel", 1, 1)]
    benchmark_database.sql(
        "UPDATE powerlift_fleet_runner SET cpu_model = 'AMD' WHERE experiment_id = %s", number
    )
    assert list(load_history(uri, number, BEGAN, at(9)).cpu_models) == [("AMD", 3, 4)]
