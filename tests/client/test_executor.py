"""The executor, and Powerlift's own Benchmark on top of it, against the real app."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import powerlift
import powerlift_fleet as fleets
import pytest
from powerlift.bench.store import Store
from powerlift_fleet import AzureVMFleet, FleetClient, runner_script

from local.stack import Stack
from tests.harness import eventually, experiment, queue_sas, sql

Make = Callable[..., AzureVMFleet]


@pytest.fixture
def store(stack: Stack) -> Store:
    return Store(stack.db_uri.replace("postgresql://", "postgresql+psycopg2://", 1))


@pytest.fixture
def make(stack: Stack, store: Store) -> Make:
    def made(**options: Any) -> AzureVMFleet:
        given = {"url": stack.url, "key": stack.key, "interval": 0.2, **options}
        return AzureVMFleet(store, **given)

    return made


def test_a_rejected_request_raises_immediately(make: Make) -> None:
    with pytest.raises(fleets.RequestRefused, match="/max_price"):
        make(max_price=1.0).submit(1)


def test_an_experiment_that_does_not_exist_raises_immediately(make: Make) -> None:
    executor = make()
    with pytest.raises(fleets.FleetCannotStart, match="Experiment 1000000 "):
        executor.submit(10**6)
    assert executor.fleets == []


def test_join_raises_the_failure(make: Make) -> None:
    executor = make()
    executor.submit(10**6, plan=False)
    with pytest.raises(fleets.FleetFailed) as caught:
        executor.join()
    assert caught.value.status.id == executor.fleets[0]


@pytest.mark.long
def test_join_waits_for_every_fleet_before_it_raises(make: Make, stack: Stack) -> None:
    executor = make()
    executor.submit(10**6, plan=False)
    executor.submit(experiment(stack))
    executor.cancel()
    with pytest.raises(fleets.FleetFailed):
        executor.join()
    assert executor.statuses()[1].phase == "cancelled"


def test_join_raises_for_a_cancelled_fleet(make: Make, stack: Stack) -> None:
    executor = make()
    executor.submit(experiment(stack))
    executor.cancel()
    with pytest.raises(fleets.FleetCancelled):
        executor.join()


def test_another_session_can_attach_to_a_fleet(make: Make, stack: Stack) -> None:
    first, second = make(), make()
    first.submit(experiment(stack))
    second.attach(first.fleets[0])
    second.cancel()
    with pytest.raises(fleets.FleetCancelled):
        second.join()


@pytest.mark.long
def test_another_session_can_attach_by_name(make: Make, stack: Stack) -> None:
    first, second = make(name="attached"), make()
    first.submit(experiment(stack))
    second.attach("attached")
    second.cancel()
    assert second.fleets == first.fleets
    with pytest.raises(fleets.FleetCancelled, match="attached"):
        second.join()


def test_a_script_with_a_batch_id_run_twice_submits_one_fleet(make: Make, stack: Stack) -> None:
    number = experiment(stack)
    executors = [make(batch_id=5101) for _ in range(2)]
    for executor in executors:
        executor.submit(number)
    executors[0].cancel()
    assert [executor.fleets for executor in executors] == [["fleet-5101"]] * 2


def test_a_rejected_queue_message_is_reported(
    make: Make, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("powerlift_fleet.submitted_fleets.READ_TIMEOUT", 3.0)
    executor = make(queue=stack.queue_connection_string, max_price=1.0)
    executor.submit(1)
    with pytest.raises(fleets.NotFound, match="powerlift-fleets-poison"):
        executor.join()


@pytest.mark.long
def test_a_fleet_submitted_by_queue_is_watched_over_http(make: Make, stack: Stack) -> None:
    executor = make(queue=queue_sas(stack))
    executor.submit(10**6)
    assert "a fleet of experiment 1000000" in executor._repr_html_()
    with pytest.raises(fleets.FleetFailed):
        executor.join()


def test_off_a_terminal_join_prints_a_line_for_each_phase(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = make()
    executor.submit(10**6, plan=False)
    with pytest.raises(fleets.FleetFailed):
        executor.join()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"{executor.statuses()[0].handle} failed")
    assert len(lines) <= 4


BENCHMARK = """
    from powerlift.bench import Benchmark, Store
    from powerlift_fleet import AzureVMFleet

    def trial_run(trial):
        trial.log("score", 1.0)

    store = Store(os.environ["POWERLIFT_DB_URI"])
    executor = AzureVMFleet(store, n_instances=1, delete_on_complete=False, interval=0.2)
    benchmark = Benchmark(store, name="through-benchmark-run")
    benchmark.run(trial_run, lambda task: ["m"], timeout=60, executor=executor)
    print(benchmark._experiment_id, executor.fleets[0], flush=True)
    benchmark.wait_until_complete()
    print(len(benchmark.status()))
"""


def test_powerlifts_own_benchmark_runs_on_it(tmp_path: Path, stack: Stack) -> None:
    """With the runner script, which the wheel of Powerlift 0.1.12 lacks."""
    installed = Path(powerlift.__path__[0])
    shutil.copytree(installed, tmp_path / "powerlift")
    (tmp_path / "powerlift" / "run").mkdir()
    (tmp_path / "powerlift" / "run" / "__main__.py").write_text(runner_script())
    script = tmp_path / "benchmark.py"
    script.write_text("import os\n" + textwrap.dedent(BENCHMARK))
    _ = experiment(stack)  # a task for it to take
    run = subprocess.Popen(
        [sys.executable, str(script)],
        env={**environment(stack), "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    number, fleet = run.stdout.readline().split()
    with FleetClient(stack.url, stack.key) as client:
        eventually(lambda: client.status(fleet).machines.running or None)
    end_trials = "UPDATE trial SET start_time = now(), end_time = now() WHERE experiment_id = %s"
    sql(stack, end_trials, int(number))
    count, _ = run.communicate(timeout=60)
    kept = sql(stack, "SELECT script FROM experiment WHERE id = %s", int(number))
    with FleetClient(stack.url, stack.key) as client:
        client.cancel(fleet)
    assert (run.returncode, int(count) >= 1, kept) == (0, True, [(runner_script(),)])


def environment(stack: Stack) -> dict[str, str]:
    uri = stack.db_uri.replace("postgresql://", "postgresql+psycopg2://", 1)
    own = {"FLEET_URL": stack.url, "FLEET_KEY": stack.key, "POWERLIFT_DB_URI": uri}
    return {**os.environ, **own}
