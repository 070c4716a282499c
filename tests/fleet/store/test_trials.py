"""Requeueing the trials of lost VMs, in a real database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from powerlift_fleet import runner_script

from fleet.store.trials import MAX_LOSSES, count, experiment, release

HELD_BY = 70_001
Hold = Callable[..., int]


@pytest.fixture
def hold(benchmark_database: Any) -> Hold:
    """Create an experiment with one trial, held by a runner, and a measure; returns its id."""

    def make(runner: int = HELD_BY) -> int:
        number: int = benchmark_database.experiment("", trials=1)
        take(benchmark_database, number, runner)
        return number

    return make


def test_what_an_experiments_vms_install_is_read_in_part(benchmark_database: Any):
    wheel = "powerlift-0.2+source-py3-none-any.whl"
    number = benchmark_database.experiment(
        "locals()['wired_function']", pip_install="x" * 10_000, wheels={wheel: b"content"}
    )
    assert experiment(benchmark_database.uri, number) == {
        "is_upstream_script": True,
        "measures_trials": False,
        "pip_install": "x" * 4096,
        "shell_install": "",
        "wheels": [wheel],
    }


def test_the_script_of_run_experiment_measures_trials(benchmark_database: Any):
    found = experiment(benchmark_database.uri, benchmark_database.experiment(runner_script()))
    assert found is not None
    assert (found["measures_trials"], found["is_upstream_script"]) == (True, False)


def test_an_absent_experiment_installs_nothing(benchmark_database: Any):
    assert experiment(benchmark_database.uri, 10**6) is None


def take(database: Any, number: int, runner: int) -> None:
    """A runner starts the trial and records a measure."""
    database.sql(
        "UPDATE trial SET runner_id = %s, start_time = now() WHERE experiment_id = %s",
        runner,
        number,
    )
    database.sql(
        "INSERT INTO measure_outcome (trial_id, name, type, seq_num, val)"
        " SELECT id, 'm', 0, 0, '1' FROM trial WHERE experiment_id = %s",
        number,
    )


def measures(database: Any, number: int) -> int:
    query = "SELECT count(*) FROM measure_outcome JOIN trial ON trial.id = trial_id"
    return int(database.sql(f"{query} WHERE experiment_id = %s", number)[0][0])


def test_a_lost_trial_is_requeued_without_its_measures(benchmark_database: Any, hold: Hold):
    number = hold()
    release(benchmark_database.uri, number, [HELD_BY])
    (trial,) = benchmark_database.trials(number)
    assert (trial["runner_id"], trial["start_time"], measures(benchmark_database, number)) == (
        -1,
        None,
        0,
    )


def test_the_trial_of_another_runner_is_left_alone(benchmark_database: Any, hold: Hold):
    number = hold()
    held = release(benchmark_database.uri, number, [HELD_BY + 1], {})
    assert (held, benchmark_database.trials(number)[0]["runner_id"]) == ([], HELD_BY)


def test_releasing_trials_is_idempotent(benchmark_database: Any, hold: Hold):
    number = hold()
    reasons = {HELD_BY: "evicted"}
    answers = [release(benchmark_database.uri, number, [HELD_BY], reasons) for _ in range(2)]
    assert answers == [[HELD_BY], [HELD_BY]]


def test_a_trial_that_is_lost_too_often_fails_and_names_the_vm(benchmark_database: Any, hold: Hold):
    number = hold(HELD_BY)
    for runner in range(HELD_BY, HELD_BY + MAX_LOSSES):
        take(benchmark_database, number, runner)
        release(benchmark_database.uri, number, [runner], {runner: f"VM {runner}: evicted."})
    (trial,) = benchmark_database.trials(number)
    assert (trial["runner_id"], trial["end_time"] is not None) == (-2, True)
    assert trial["errmsg"].endswith(f"times. Last: VM {HELD_BY + MAX_LOSSES - 1}: evicted.")


def test_trials_lost_to_a_cancel_are_always_requeued(benchmark_database: Any, hold: Hold):
    number = hold(HELD_BY)
    for runner in range(HELD_BY, HELD_BY + 2 * MAX_LOSSES):
        take(benchmark_database, number, runner)
        release(benchmark_database.uri, number, [runner])
    assert count(benchmark_database.uri, number)["ready"] == 1  # type: ignore[index]


def test_losses_of_an_earlier_trial_with_the_same_id_do_not_count(
    benchmark_database: Any, hold: Hold
):
    """As after `Store(force_recreate=True)`, which starts the IDs of trials again."""
    number = hold()
    for runner in range(MAX_LOSSES):
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason, lost_at)"
            " SELECT id, %s, 'lost', create_time - interval '1 day' FROM trial"
            " WHERE experiment_id = %s",
            runner,
            number,
        )
    release(benchmark_database.uri, number, [HELD_BY], {HELD_BY: "lost"})
    assert benchmark_database.trials(number)[0]["runner_id"] == -1
