from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator

import pytest
from rich.console import Console

from local.demo import experiment, results
from local.demo.trial import run_trial
from local.postgres import Postgres
from local.stack import CACHE


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Postgres(tmp_path_factory.mktemp("postgres"), CACHE) as postgres:
        yield postgres.uri()


@pytest.mark.parametrize("trials", [1, 3, 4, 7, 24, 100])
def test_a_plan_has_the_requested_number_of_trials(trials: int) -> None:
    cells = experiment.plan([1, 2], ["linear", "forest"], trials)

    assert len(set(cells)) == trials


def test_a_plan_is_spread_evenly_over_tasks_and_methods() -> None:
    cells = experiment.plan([1, 2], ["linear", "forest"], 10)

    shares = Counter((cell.task, cell.method) for cell in cells).values()
    assert max(shares) - min(shares) == 1


def test_an_experiment_contains_the_trial_function(uri: str) -> None:
    store = experiment.open_store(uri)

    experiment_id = experiment.create(store, trials=2, name="needs")

    assert "def run_trial(trial" in store.get_trial_fn(experiment_id)


def test_two_experiments_in_one_database(uri: str) -> None:
    store = experiment.open_store(uri)
    experiment.create(store, trials=1, name="first")

    experiment.create(store, trials=2, name="second")

    assert results.trials_by_status(store, "second") == {"READY": 2}


@pytest.mark.long
def test_the_table_shows_means_over_replicates(uri: str) -> None:
    store = experiment.open_store(uri)
    experiment_id = experiment.create(store, trials=16, name="table")
    for _ in range(16):
        trial = store.pick_trial(experiment_id, runner_id=7)
        run_trial(trial)
        store.end_trial(trial.id)
    out = io.StringIO()

    Console(file=out, width=120).print(results.table(store, "table"))

    assert out.getvalue().count("n=2") == 8


def test_the_errors_of_trials_are_their_last_lines(uri: str) -> None:
    store = experiment.open_store(uri)
    experiment_id = experiment.create(store, trials=1, name="errors")
    trial = store.pick_trial(experiment_id, runner_id=1)

    store.end_trial(trial.id, "Traceback ...\n  line\nValueError: no such method\n")

    assert results.errors(store, "errors") == ["ValueError: no such method"]
