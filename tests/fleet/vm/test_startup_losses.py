"""What a VM does about its trials before Azure takes it away, and about trials that wait for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet.model.names import AWAITS_REGULAR, reserving_id
from fleet.vm import agent
from tests.fleet.vm.scripts import DONE

RUNNER = 7
CLAIMS = """
import os, pathlib, psycopg2, time
database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
database.autocommit = True
cursor = database.cursor()
cursor.execute("SELECT runner_id, replicate_num FROM trial WHERE experiment_id = %s ORDER BY id",
               [os.environ["EXPERIMENT_ID"]])
print("sees", cursor.fetchall(), flush=True)
pathlib.Path(os.environ["ROOT"], "running").touch()
time.sleep(1000)
"""
"""Runs the trial that the VM has claimed, without an end."""
ONE_BY_POWERLIFT = """
import os, psycopg2, sys
database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
with database, database.cursor() as cursor:
    cursor.execute("UPDATE trial SET runner_id = -2, end_time = now() WHERE id = (SELECT min(id)"
                   " FROM trial WHERE experiment_id = %s AND runner_id IN (-1, %s))",
                   [os.environ["EXPERIMENT_ID"], os.environ["RUNNER_ID"]])
sys.exit(0)
"""
"""Takes trials as Powerlift does, and says that there are no others."""
LOSSES = """
    SELECT loss.runner_id, reason FROM powerlift_fleet_loss loss JOIN trial ON trial.id = trial_id
    WHERE experiment_id = %s ORDER BY 1
"""


def evict(vm: Any, startup: Any) -> None:
    vm.start(startup)
    vm.until((vm.root / "running").exists)
    vm.announce()
    assert vm.wait() == 143, vm.log


def lost_before(database: Any, experiment: int, runner: int) -> None:
    database.sql(
        "INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason)"
        " SELECT min(id), %s, 'evicted' FROM trial WHERE experiment_id = %s",
        runner,
        experiment,
    )


def runners(database: Any, experiment: int) -> list[int]:
    return [trial["runner_id"] for trial in database.trials(experiment)]


@pytest.mark.long
def test_an_eviction_counts_as_a_loss_of_the_trial(
    vm: Any, benchmark_database: Any, startup: Callable[..., Any]
):
    experiment = benchmark_database.experiment(CLAIMS, trials=1)
    evict(vm, startup(experiment, is_spot=True))
    reason = "powerlift-vm-1-0007: Azure announced that it will stop this VM."
    assert benchmark_database.sql(LOSSES, experiment) == [(RUNNER, reason)]
    assert runners(benchmark_database, experiment) == [-1], vm.log


def test_after_two_losses_a_group_waits_for_a_regular_vm(
    vm: Any, benchmark_database: Any, startup: Callable[..., Any]
):
    experiment = benchmark_database.experiment(CLAIMS, trials=3)
    benchmark_database.sql(
        "UPDATE trial SET replicate_num = 0 WHERE experiment_id = %s AND replicate_num < 2",
        experiment,
    )
    lost_before(benchmark_database, experiment, RUNNER + 1)
    benchmark_database.sql(
        "UPDATE trial SET runner_id = CASE WHEN id = (SELECT min(id) FROM trial WHERE experiment_id ="
        " %s) THEN %s ELSE %s END WHERE experiment_id = %s AND replicate_num = 0",
        experiment, RUNNER, reserving_id(RUNNER), experiment,
    )  # fmt: skip
    evict(vm, startup(experiment, is_spot=True, trial_order="paired"))
    expected = [AWAITS_REGULAR, AWAITS_REGULAR, -1]
    assert runners(benchmark_database, experiment) == expected, vm.log


@pytest.mark.long
def test_a_loss_of_an_earlier_fleet_does_not_count(
    vm: Any, benchmark_database: Any, startup: Callable[..., Any]
):
    experiment = benchmark_database.experiment(CLAIMS, trials=1)
    lost_before(benchmark_database, experiment, RUNNER + 10_000)
    evict(vm, startup(experiment, is_spot=True))
    assert runners(benchmark_database, experiment) == [-1], vm.log


@pytest.mark.long
def test_an_evicted_trial_is_requeued_without_the_table_of_losses(
    vm: Any, benchmark_database: Any, startup: Callable[..., Any]
):
    experiment = benchmark_database.experiment(CLAIMS, trials=1)
    rename = "ALTER TABLE {} RENAME TO {}"
    benchmark_database.sql(rename.format("powerlift_fleet_loss", "away"))
    try:
        evict(vm, startup(experiment, is_spot=True))
    finally:
        benchmark_database.sql(rename.format("away", "powerlift_fleet_loss"))
    assert runners(benchmark_database, experiment) == [-1], vm.log


@pytest.mark.long
@pytest.mark.parametrize(("is_spot", "ended"), [(False, [-2, -2]), (True, [AWAITS_REGULAR, -2])])
def test_a_script_that_sees_no_waiting_trial_is_run_again_on_a_regular_vm(
    vm: Any, benchmark_database: Any, startup: Callable[..., Any], is_spot: bool, ended: list[int]
):
    experiment = benchmark_database.experiment(ONE_BY_POWERLIFT, trials=2)
    benchmark_database.sql(
        "UPDATE trial SET runner_id = %s WHERE experiment_id = %s AND replicate_num <= %s",
        AWAITS_REGULAR,
        experiment,
        0 if is_spot else 1,
    )
    vm.run(startup(experiment, is_spot=is_spot))
    assert runners(benchmark_database, experiment) == ended, vm.log


INFO = "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\n"


@pytest.mark.parametrize(
    ("allowed", "code"),
    [
        pytest.param((), 0, marks=pytest.mark.long),
        pytest.param(("epyc 7763",), 0, marks=pytest.mark.long),
        pytest.param(("8370C", "AMD*7763"), 0, marks=pytest.mark.long),
        (("8370C", "EPYC 9V74"), 75),
        pytest.param(("EPYC 77",), 0, marks=pytest.mark.long),
    ],
)
def test_a_vm_of_another_processor_takes_no_trial(
    vm: Any,
    benchmark_database: Any,
    startup: Callable[..., Any],
    allowed: tuple[str, ...],
    code: int,
):
    (vm.root / "cpuinfo").write_text(INFO)
    vm.env["POWERLIFT_CPUINFO"] = str(vm.root / "cpuinfo")
    experiment = benchmark_database.experiment(DONE, trials=1)

    assert vm.run(startup(experiment, cpu_models=allowed)) == code, vm.log

    outcome = benchmark_database.runner(experiment)["outcome"]
    why = "its processor is AMD EPYC 7763 64-Core Processor, and the request's cpu_models allow "
    assert outcome == (why + ", ".join(allowed) if code else "no more work")
    assert len(vm.azure.deletes) == 1
    assert (vm.home / "claimed").exists() is (code == 0)


@pytest.mark.parametrize(
    ("pattern", "is_refused"),
    [
        ("amd*77*core", False),
        ("*EPYC**7763*", False),
        ("7763*EPYC", True),
        ("763*63", True),
        ("*".join("AMD EPYC 7763") + "*" * 30 + "!", True),
    ],
)
def test_the_patterns_of_processors(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pattern: str,
    is_refused: bool,
):
    (tmp_path / "cpuinfo").write_text(INFO)
    monkeypatch.setenv("POWERLIFT_CPUINFO", str(tmp_path / "cpuinfo"))
    agent.refused_cpu(pattern)
    assert bool(capsys.readouterr().out) is is_refused


@pytest.mark.long
def test_a_vm_of_another_processor_is_never_kept(
    vm: Any, benchmark_database: Any, startup: Callable[..., Any]
):
    """The fleet replaces it once it is gone."""
    (vm.root / "cpuinfo").write_text(INFO)
    vm.env["POWERLIFT_CPUINFO"] = str(vm.root / "cpuinfo")
    values = startup(
        benchmark_database.experiment(DONE, trials=1),
        cpu_models=("EPYC 9V74",),
        delete_on_complete=False,
    )

    assert (vm.run(values), len(vm.azure.deletes)) == (75, 1), vm.log
