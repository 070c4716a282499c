"""Requeueing the trials of lost VMs, in a real database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from powerlift_fleet import runner_script

from fleet.model.names import AWAITS_REGULAR, ORDINALS, reserving_id
from fleet.store.trials import (
    FAULTS,
    LOSSES_ON_SPOT,
    count,
    count_waiting,
    count_with_waiting,
    experiment,
    release,
    release_waiting,
)

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
        "keeps_order": False,
        "open_groups": 0,
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
    held = release(benchmark_database.uri, number, [HELD_BY + 1], {}).runners
    assert (held, benchmark_database.trials(number)[0]["runner_id"]) == ([], HELD_BY)


def test_releasing_trials_is_idempotent(benchmark_database: Any, hold: Hold):
    number = hold()
    reasons = {HELD_BY: "evicted"}
    answers = [release(benchmark_database.uri, number, [HELD_BY], reasons) for _ in range(2)]
    assert answers == [([HELD_BY], 0)] * 2


def lose(database: Any, number: int, *runners: int, reasons: bool = True) -> dict[str, Any]:
    """The trial is lost by VMs, one after the other; returns it."""
    for runner in runners:
        take(database, number, runner)
        why = {runner: f"VM {runner}: evicted."} if reasons else None
        release(database.uri, number, [runner], why)
    (trial,) = database.trials(number)
    return dict(trial)


def report(database: Any, number: int, runner: int, **columns: Any) -> None:
    """A VM's row, as it and the fleet write it."""
    names, values = [*columns], [*columns.values()]
    database.sql(
        f"INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, {', '.join(names)})"
        f" VALUES (%s, %s{', %s' * len(names)})",
        number,
        runner,
        *values,
    )


def test_an_eviction_is_never_a_result(benchmark_database: Any, hold: Hold):
    number = hold()
    trial = lose(benchmark_database, number, *range(HELD_BY, HELD_BY + 9))
    assert (trial["end_time"], trial["errmsg"]) == (None, None)
    assert count(benchmark_database.uri, number)["ready"] == 1  # type: ignore[index]


def test_a_trial_waits_for_a_regular_vm_after_two_losses(benchmark_database: Any, hold: Hold):
    number, found = hold(), []
    for runner in range(HELD_BY, HELD_BY + LOSSES_ON_SPOT):
        found.append(lose(benchmark_database, number, runner)["runner_id"])
    assert found == [-1, AWAITS_REGULAR]
    assert count_with_waiting(benchmark_database.uri, number)[1] == 1
    assert count_waiting(benchmark_database.uri, number) == 1


def test_a_later_fleet_starts_anew(benchmark_database: Any, hold: Hold):
    number = hold()
    lose(benchmark_database, number, HELD_BY, HELD_BY + ORDINALS)
    assert benchmark_database.trials(number)[0]["runner_id"] == -1


def test_the_end_of_a_fleet_leaves_trials_that_wait_to_the_last_one(
    benchmark_database: Any, hold: Hold
):
    number = hold()
    lose(benchmark_database, number, *range(HELD_BY, HELD_BY + LOSSES_ON_SPOT))
    release(benchmark_database.uri, number, [HELD_BY])
    assert benchmark_database.trials(number)[0]["runner_id"] == AWAITS_REGULAR
    release_waiting(benchmark_database.uri, number)
    assert benchmark_database.trials(number)[0]["runner_id"] == -1


def test_the_rest_of_a_group_waits_with_a_lost_trial(benchmark_database: Any):
    number = benchmark_database.experiment("", trials=3)
    for runner in range(HELD_BY, HELD_BY + LOSSES_ON_SPOT):
        benchmark_database.sql(
            "UPDATE trial SET runner_id = CASE replicate_num WHEN 0 THEN %s ELSE %s END,"
            " start_time = CASE replicate_num WHEN 0 THEN now() END WHERE experiment_id = %s",
            runner,
            reserving_id(runner),
            number,
        )
        release(benchmark_database.uri, number, [runner], {runner: "evicted"})
    trials = benchmark_database.trials(number)
    assert [trial["runner_id"] for trial in trials] == [AWAITS_REGULAR] * 3
    losses = "SELECT count(*) FROM powerlift_fleet_loss WHERE trial_id = ANY(%s)"
    assert benchmark_database.sql(losses, [trial["id"] for trial in trials]) == [(2,)]


PANIC = "[  99.1] Kernel panic - not syncing: System is deadlocked on memory\n"


def test_a_trial_that_takes_down_its_vms_fails_with_the_sign(benchmark_database: Any, hold: Hold):
    number = hold()
    for runner in range(HELD_BY, HELD_BY + FAULTS):
        report(benchmark_database, number, runner, outcome="VmSilent: It hangs.", log=PANIC)
    trial = lose(benchmark_database, number, *range(HELD_BY, HELD_BY + FAULTS))
    assert (trial["runner_id"], trial["end_time"] is not None) == (-2, True)
    assert trial["errmsg"].startswith(
        "The trial took down its VM 2 times, and was not tried again. "
    )
    assert "Kernel panic - not syncing" in trial["errmsg"]
    assert f"VM {HELD_BY + 1}: evicted." in trial["errmsg"]


@pytest.mark.parametrize(
    "columns",
    [
        {"outcome": "VmSilent: It hangs.", "log": "", "memory_available": 9, "memory_bytes": 10},
        {"outcome": "Azure announced that it will stop this VM", "log": PANIC},
    ],
)
def test_a_silent_vm_without_a_sign_is_no_fault_of_its_trial(
    benchmark_database: Any, hold: Hold, columns: dict[str, Any]
):
    number = hold()
    for runner in range(HELD_BY, HELD_BY + 4):
        report(benchmark_database, number, runner, **columns)
    trial = lose(benchmark_database, number, *range(HELD_BY, HELD_BY + 4))
    assert (trial["runner_id"], trial["errmsg"]) == (AWAITS_REGULAR, None)


def test_losses_are_not_counted_in_tables_of_an_earlier_build(benchmark_database: Any, hold: Hold):
    number, rename = hold(), "ALTER TABLE powerlift_fleet_loss RENAME {} TO {}"
    benchmark_database.sql(rename.format("fault", "away"))
    try:
        trial = lose(benchmark_database, number, *range(HELD_BY, HELD_BY + 3))
    finally:
        benchmark_database.sql(rename.format("away", "fault"))
    assert trial["runner_id"] == -1


def test_trials_lost_to_a_cancel_are_always_requeued(benchmark_database: Any, hold: Hold):
    trial = lose(benchmark_database, hold(), *range(HELD_BY, HELD_BY + 6), reasons=False)
    assert trial["runner_id"] == -1


def test_losses_of_an_earlier_trial_with_the_same_id_do_not_count(
    benchmark_database: Any, hold: Hold
):
    """As after `Store(force_recreate=True)`, which starts the IDs of trials again."""
    number = hold()
    for runner in range(HELD_BY + 1, HELD_BY + 3):
        benchmark_database.sql(
            "INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason, lost_at)"
            " SELECT id, %s, 'lost', create_time - interval '1 day' FROM trial"
            " WHERE experiment_id = %s",
            runner,
            number,
        )
    assert lose(benchmark_database, number, HELD_BY)["runner_id"] == -1
