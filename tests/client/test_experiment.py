"""Experiments: what is stored, and what is rejected before submission."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import powerlift_fleet as fleets
import pytest
from powerlift.bench.store import Store
from powerlift_fleet import Run, run_experiment, runner_script
from powerlift_fleet.experiment import ordered_trials

from local.stack import Stack
from tests.harness import Api, experiment, sql

SIZE = "Standard_D2s_v5"


@dataclass
class Executor:
    """Records submitted experiments."""

    refuses: bool = False
    submitted: list[tuple[int, float | None]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    _shell_install: str | None = "libgomp1"
    _pip_install: str | None = None
    _wheel_filepaths: list[str] | None = None

    def submit(self, experiment_id: int, timeout: float | None = None, **more: str) -> None:
        if self.refuses:
            raise fleets.RequestRefused(400, "No", "…")
        self.names += more.values()
        self.submitted.append((experiment_id, timeout))


@dataclass
class Checking(Executor):
    """Checks the request first, as AzureVMFleet does; its `submit` lacks `plan`."""

    checked: list[int] = field(default_factory=list)

    def check(self, trials: int, timeout: float | None) -> None:
        self.checked.append(trials)

    def submit(self, experiment_id: int, timeout: float | None = None) -> None:
        super().submit(experiment_id, timeout)


def trial_run(trial: Any) -> None:
    trial.log("score", 1.0)


def two_methods(task: Any) -> list[Any]:
    return ["linear", ("forest", {"trees": 50})]


@pytest.fixture(scope="module")
def named_fleet(stack: Stack, api: Api) -> Iterator[str]:
    """The name of a running fleet."""
    number = experiment(stack)
    fleet = api.start(experiment_id=number, n_instances=1, vm_size=SIZE, name="occupied")
    yield "occupied"
    api.end(fleet)


@pytest.fixture
def store(stack: Stack) -> Store:
    _ = experiment(stack)  # a task
    return Store(stack.db_uri.replace("postgresql://", "postgresql+psycopg2://", 1))


def run(store: Store, executor: Executor | None = None, **options: Any) -> Run:
    given = {"trial_run_fn": trial_run, "trial_gen_fn": two_methods, "name": uuid4().hex, **options}
    return run_experiment(store, executor=executor or Executor(), **given)


def test_the_executor_gets_the_experiment_with_its_timeout(store: Store) -> None:
    executor = Executor()
    made = run(store, executor, timeout=60)
    assert executor.submitted == [(made.experiment_id, 60)]


def test_an_executor_may_lack_options_of_ours(store: Store) -> None:
    """A subclass that overrides `submit` with the arguments of an earlier version."""
    executor = Checking()
    made = run(store, executor)
    assert (executor.checked, executor.submitted) == (
        [len(made.status())],
        [(made.experiment_id, None)],
    )


def test_the_fleet_gets_its_name(store: Store) -> None:
    executor = Executor()
    run(store, executor, fleet_name="nightly")
    run(store, executor)
    assert executor.names == ["nightly"]


def test_the_vms_get_our_runner_with_the_memory_limit(store: Store, stack: Stack) -> None:
    made = run(store, memory_limit="8G")
    rows = "SELECT script, trial_fn, shell_install, pip_install FROM experiment WHERE id = %s"
    (row,) = sql(stack, rows, made.experiment_id)
    text = 'def trial_run(trial: Any) -> None:\n    trial.log("score", 1.0)\n'
    assert row == (runner_script("8G"), text, "libgomp1", "")


def test_there_is_a_trial_for_each_task_method_and_replicate(store: Store) -> None:
    trials = run(store, n_replicates=2).status()
    per_task = trials.groupby("task").size()
    assert set(per_task) == {4}
    assert set(trials["meta"]) == {"{}", '{"trees": 50}'}


def test_without_results_the_frame_is_empty(store: Store) -> None:
    assert len(run(store).results()) == 0


def test_wheels_are_stored_in_the_database(store: Store, stack: Stack, tmp_path: Path) -> None:
    wheel = tmp_path / "mine-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    made = run(store, Executor(_wheel_filepaths=[str(wheel)]))
    rows = sql(
        stack, "SELECT name, embedded FROM wheel WHERE experiment_id = %s", made.experiment_id
    )
    assert [(name, bytes(content)) for name, content in rows] == [(wheel.name, b"wheel")]


def test_a_duplicate_name_is_rejected(store: Store) -> None:
    made = run(store, name=(name := uuid4().hex))
    with pytest.raises(fleets.ConfigurationError, match=rf"with ID {made.experiment_id}\."):
        run(store, name=name)


def test_an_experiment_whose_submission_failed_is_logged(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(fleets.RequestRefused):
        run(store, Executor(refuses=True))
    assert "submit(" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"trial_gen_fn": lambda task: []}, "no trials"),
        ({"trial_gen_fn": lambda task: [3]}, "returned 3"),
        ({"trial_gen_fn": lambda task: [("m", {}, 1)]}, "returned \\('m', {}, 1\\)"),
        ({"trial_gen_fn": lambda task: [("m", 1)]}, "must be a dict"),
        ({"trial_gen_fn": lambda task: "m"}, "must return a list"),
        ({"trial_gen_fn": lambda task: None}, "must return a list"),
        ({"timeout": "1 parsec"}, "timeout: '1 parsec' is not a duration"),
        ({"trial_gen_fn": lambda task: [("m", {"x": object()})]}, "not JSON"),
        ({"n_replicates": 0}, "n_replicates"),
        ({"memory_limit": "lots"}, "memory_limit"),
        ({"timeout": float("nan")}, "timeout"),
        ({"executor": Executor(_wheel_filepaths=["/no/such.whl"])}, "wheel cannot be read"),
    ],
)
def test_an_invalid_experiment_is_not_created(
    store: Store, stack: Stack, wrong: dict[str, Any], expected: str
) -> None:
    before = sql(stack, "SELECT count(*) FROM experiment")
    with pytest.raises(fleets.ConfigurationError, match=expected):
        run(store, **wrong)
    assert sql(stack, "SELECT count(*) FROM experiment") == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"vm_size": "Standard_None"}, "sizes: "),
        ({"location": "nowhere"}, "location"),
        ({"n_instances": 2, "min_instances": -1}, "/min_instances"),
    ],
)
def test_what_the_app_refuses_uses_up_no_name(
    store: Store, stack: Stack, options: dict[str, Any], expected: str
) -> None:
    before = sql(stack, "SELECT count(*) FROM experiment")
    executor = fleets.AzureVMFleet(store, url=stack.url, key=stack.key, **options)
    with pytest.raises((fleets.FleetCannotStart, fleets.RequestRefused), match=expected):
        run(store, executor)
    assert (sql(stack, "SELECT count(*) FROM experiment"), executor.fleets) == (before, [])


@pytest.mark.parametrize("at", ["executor", "experiment"])
def test_the_name_of_a_running_fleet_uses_up_no_name(
    store: Store, stack: Stack, named_fleet: str, at: str
) -> None:
    before = sql(stack, "SELECT count(*) FROM experiment")
    name = {"name": named_fleet} if at == "executor" else {}
    executor = fleets.AzureVMFleet(store, url=stack.url, key=stack.key, vm_size=SIZE, **name)
    options = {} if at == "executor" else {"fleet_name": named_fleet}
    said = f"name: A fleet named '{named_fleet}' is running. Cancel it, or choose another name."
    with pytest.raises(fleets.FleetCannotStart, match=said):
        run(store, executor, **options)
    assert sql(stack, "SELECT count(*) FROM experiment") == before


def test_a_default_resource_group_that_does_not_exist_is_named(store: Store, stack: Stack) -> None:
    account = {
        f"azure_{name}": stack.arm[name] for name in ("tenant_id", "client_id", "client_secret")
    }
    executor = fleets.AzureVMFleet(
        store, url=stack.url, key=stack.key, subscription_id=stack.arm["subscription_id"], **account
    )
    said = "powerlift_rg is the default of the argument resource_group"
    with pytest.raises(fleets.FleetCannotStart, match=said):
        run(store, executor)


def test_a_timeout_may_be_a_duration(store: Store) -> None:
    run(store, executor := Executor(), timeout="90s")
    assert executor.submitted[0][1] == 90


def tasks(*samples: int, classes: int = 2) -> list[Any]:
    return [
        SimpleNamespace(id=size, n_classes=classes, n_features=1, n_samples=size)
        for size in samples
    ]


def order(seed: int, replicates: int = 4) -> list[int]:
    """The tasks of the trials, in the order in which runners claim them."""
    planned = ordered_trials(tasks(1, 50, 7, 20), two_methods, replicates, random.Random(seed))
    return [trial["task_id"] for trial in planned]


def test_a_few_easy_trials_run_first_then_the_hardest() -> None:
    first, rest = order(0)[:2], order(0)[2:]
    assert (first, rest) == ([1, 1], sorted(rest, reverse=True))


def test_every_trial_is_in_the_order() -> None:
    assert sorted(order(0)) == sorted([1, 50, 7, 20] * 8)


def test_the_order_depends_only_on_the_seed() -> None:
    def arranged(seed: int) -> Any:
        return ordered_trials(tasks(1, 50), two_methods, 4, random.Random(seed))

    assert arranged(1) == arranged(1) != arranged(2)


def test_tasks_with_many_classes_are_hard() -> None:
    planned = ordered_trials(
        [*tasks(30), *tasks(10, classes=9)], lambda task: ["m"], 1, random.Random(0)
    )
    assert [trial["task_id"] for trial in planned] == [10, 30]
