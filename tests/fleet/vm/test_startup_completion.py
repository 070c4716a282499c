"""startup.sh at its end: the records of a completed VM, its deletion, and failures of its runner."""

from __future__ import annotations

import os

import pytest

from tests.fleet.vm.scripts import DONE, ONE_TRIAL_SCRIPT

ARM_ID = (
    "/subscriptions/sub/resourceGroups/group%20one/providers/Microsoft.Compute/virtualMachines/"
)

CRASH = """
import os, psycopg2, sys
cursor = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", "")).cursor()
cursor.execute("SELECT 1 FROM trial WHERE runner_id = %s", [os.environ["RUNNER_ID"]])
if cursor.fetchone():
    os.kill(os.getpid(), SIGNAL)
"""
"""A script that dies of each trial."""


@pytest.fixture(scope="class")
def experiment(benchmark_database):
    """An experiment without open trials."""
    return benchmark_database.experiment(DONE)


@pytest.fixture(scope="class")
def code(vm, startup, experiment):
    """The exit code of the script on its VM."""
    return vm.run(startup(experiment))


class TestOnceDone:
    def test_the_script_succeeds_and_logs_the_reason(self, vm, code):
        assert (code, "ending (0): no more work" in vm.log) == (0, True), vm.log

    def test_the_vm_is_deleted_with_its_own_identity(self, vm, code):
        method, path, headers = vm.azure.requests[-1]
        wanted = f"{ARM_ID}powerlift-vm-1-0007?api-version=2024-11-01&forceDeletion=true"
        sent = (method, path, headers["Authorization"])
        assert sent == ("DELETE", wanted, "Bearer a-token"), vm.log

    def test_the_scripts_own_packages_are_pinned(self, vm, code):
        tools = (vm.home / "tools").read_text().splitlines()
        assert (len(tools) >= 5, [one for one in tools if "==" not in one]) == (True, []), vm.log

    def test_no_process_is_left(self, vm, code):
        assert vm.left() == [], vm.log

    def test_installed_packages_are_not_reinstalled(self, vm, code):
        assert vm.calls("apt-get") == [], vm.log

    def test_the_hardware_is_recorded(self, vm, benchmark_database, experiment, code):
        row = benchmark_database.runner(experiment)
        names = ("vm_name", "vm_size", "zone", "priority", "image", "image_version")
        image = ("canonical:ubuntu-24_04-lts:server", "24.04.1")
        wanted = ("powerlift-vm-1-0007", "Standard_D2s_v5", "2", "Spot", *image)
        assert tuple(row[name] for name in names) == wanted, vm.log

    def test_the_cpu_count_is_recorded(self, vm, benchmark_database, experiment, code):
        assert benchmark_database.runner(experiment)["cpus"] == os.cpu_count(), vm.log

    def test_the_end_is_recorded(self, vm, benchmark_database, experiment, code):
        row = benchmark_database.runner(experiment)
        assert (row["outcome"], row["exit_code"]) == ("no more work", 0), vm.log

    def test_the_files_are_private(self, vm, code):
        assert not (vm.home.stat().st_mode | (vm.home / "pg_service.conf").stat().st_mode) & 0o077


DRAINED = """
def trial(trial):
    import os, psycopg2
    database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
    with database, database.cursor() as cursor:
        cursor.execute("UPDATE powerlift_fleet_runner SET outcome = 'max_cost is reached'"
                       " WHERE experiment_id = %s", [os.environ["EXPERIMENT_ID"]])
"""
"""The fleet starts to drain during the first trial."""


def test_a_drained_vm_finishes_its_trial_and_claims_no_other(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(ONE_TRIAL_SCRIPT, trials=3, trial_fn=DRAINED)
    vm.env["POWERLIFT_USE_INTERVAL"] = "0.1"

    code = vm.run(startup(experiment))

    trials, row = benchmark_database.trials(experiment), benchmark_database.runner(experiment)
    assert [trial["end_time"] is not None for trial in trials] == [True, False, False], vm.log
    assert [trial["runner_id"] for trial in trials] == [-2, -1, -1], vm.log
    assert (code, row["outcome"], row["exit_code"]) == (0, "max_cost is reached", 0), vm.log
    assert 0 < row["used_memory_bytes"] < row["memory_bytes"], "the most that it used is recorded"
    assert 0 < row["used_vcpus"] <= row["cpus"]
    assert len(vm.azure.deletes) == 1, vm.log


def test_deletion_is_retried_until_the_role_is_effective(vm, benchmark_database, startup):
    vm.azure.answers = [403]

    vm.run(startup(benchmark_database.experiment(DONE)))

    assert len(vm.azure.deletes) == 2, vm.log


def test_the_vm_is_shut_down_if_its_deletion_keeps_failing(vm, benchmark_database, startup):
    vm.azure.answers = [403] * 9
    vm.env["POWERLIFT_DELETE_TIMEOUT"] = "0"

    vm.run(startup(benchmark_database.experiment(DONE)))

    assert vm.calls("shutdown") == [["-h", "now"]], vm.log


@pytest.mark.long
def test_the_vm_is_kept_on_request(vm, benchmark_database, startup):
    vm.run(startup(benchmark_database.experiment(DONE), delete_on_complete=False))

    assert vm.azure.requests == [], vm.log


@pytest.mark.long
def test_a_runner_that_always_fails_is_abandoned(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment("raise SystemExit(65)", trials=7)

    vm.run(startup(experiment))

    message = "The runner exited with code 65 while running this trial."
    marked = [row["errmsg"] for row in benchmark_database.trials(experiment)]
    assert marked == [message] * 5 + [None] * 2, vm.log


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "words"),
    [
        pytest.param(
            "11",
            "crashed: segmentation fault (exit code 139, SIGSEGV)",
            marks=pytest.mark.long,  # the contract's tests cover this signal
        ),
        ("9", "was killed, most likely because it ran out of memory (exit code 137, SIGKILL)"),
    ],
)
def test_any_number_of_trials_may_crash_the_runner(vm, benchmark_database, startup, number, words):
    """Powerlift's VM is deleted after the first crash."""
    experiment = benchmark_database.experiment(CRASH.replace("SIGNAL", number), trials=6)

    vm.run(startup(experiment))

    message = f"The runner {words} while running this trial."
    ends = [(row["runner_id"], row["errmsg"]) for row in benchmark_database.trials(experiment)]
    assert ends == [(-2, message)] * 6, vm.log
