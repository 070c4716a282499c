"""How a VM handles trials of every outcome: the same with our runner and with one like Powerlift's."""

from __future__ import annotations

import os
import signal
import time
from itertools import product

import pytest
from powerlift_fleet import runner_script

from tests.fleet.conftest import machine
from tests.fleet.vm.scripts import ONE_TRIAL_SCRIPT

RUNNERS = {"ours": runner_script(), "one-trial": ONE_TRIAL_SCRIPT}

WAYS = """
def trial(trial):
    import os, pathlib, signal, subprocess, time
    trial.log("half", 1)
    n = trial.replicate_num
    if n == 1:
        raise KeyError("lost")
    if n == 2:
        child = subprocess.Popen(["sleep", "1000"])
        pathlib.Path(os.environ["ROOT"], "child").write_text(str(child.pid))
        child.wait()
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if n == 4:
        os.kill(os.getpid(), signal.SIGSEGV)
    trial.log("whole", 1)
"""
GOOD, RAISES, SLEEPS, OUT_OF_MEMORY, SEGFAULT, LAST = range(6)


@pytest.fixture(scope="class")
def case(request):
    return request.param


@pytest.fixture(scope="class")
def vm(case, tmp_path_factory, benchmark_database):
    """One VM for each case."""
    with machine(tmp_path_factory.mktemp("vm"), benchmark_database) as vm:
        yield vm


@pytest.fixture(scope="class")
def completed(case, vm, benchmark_database, startup):
    """An experiment with one trial for each outcome, on a VM that has completed."""
    experiment = benchmark_database.experiment(RUNNERS[case], trials=6, trial_fn=WAYS)
    vm.run(startup(experiment, timeout=1.5))
    return experiment


@pytest.mark.parametrize(
    "case",
    ["ours", pytest.param("one-trial", marks=pytest.mark.long)],
    indirect=True,
    scope="class",
)
class TestTrials:
    def test_all_have_powerlifts_final_state(self, vm, benchmark_database, completed):
        ends = [
            row["end_time"] and row["runner_id"] for row in benchmark_database.trials(completed)
        ]
        assert ends == [-2] * 6, vm.log

    @pytest.mark.parametrize("trial", [GOOD, LAST])
    def test_a_successful_one_has_no_error(self, vm, benchmark_database, completed, trial):
        assert benchmark_database.trials(completed)[trial]["errmsg"] is None, vm.log

    @pytest.mark.parametrize(
        ("trial", "word"),
        [
            (RAISES, "KeyError: 'lost'"),
            (SLEEPS, "Timeout failure"),
            (OUT_OF_MEMORY, "SIGKILL"),
            (OUT_OF_MEMORY, "memory"),
            (SEGFAULT, "segmentation fault"),
        ],
    )
    def test_a_failed_one_has_its_error(self, vm, benchmark_database, completed, trial, word):
        message = benchmark_database.trials(completed)[trial]["errmsg"]
        assert word.lower() in message.lower(), vm.log

    def test_a_timeout_kills_the_trials_processes(self, vm, completed):
        assert not os.path.exists(f"/proc/{(vm.root / 'child').read_text()}"), vm.log

    def test_each_is_attributed_to_this_vms_hardware(self, vm, benchmark_database, completed):
        rows = benchmark_database.sql(
            "SELECT r.vm_size FROM trial t JOIN powerlift_fleet_trial n ON n.trial_id = t.id"
            " JOIN powerlift_fleet_runner r ON r.experiment_id = n.experiment_id"
            " AND r.runner_id = n.runner_id"
            " WHERE t.experiment_id = %s",
            completed,
        )
        assert rows == [("Standard_D2s_v5",)] * 6, vm.log

    def test_the_vm_is_done_and_deleted(self, vm, benchmark_database, completed):
        outcome = benchmark_database.runner(completed)["outcome"]
        assert (outcome, len(vm.azure.deletes)) == ("no more work", 1), vm.log


STAYS = """
def trial(trial):
    import os, pathlib, subprocess
    trial.log("half", 1)
    sleeper = subprocess.Popen(["sleep", "1000"])
    pathlib.Path(os.environ["ROOT"], "sleeper").write_text(f"{sleeper.pid} ")
    sleeper.wait()
"""

SIGNAL = "stopped by a signal"
NOTICE = "Azure announced that it will stop this VM"
GIVEN_UP = "the fleet abandoned this VM"


def reassign(vm, database, experiment):
    """As the fleet does for a VM that is lost: its trial is reassigned."""
    database.sql("UPDATE trial SET runner_id = 99 WHERE experiment_id = %s", experiment)
    database.sql(
        "UPDATE powerlift_fleet_runner SET ended_at = now() WHERE experiment_id = %s", experiment
    )


STOPS = {
    SIGNAL: lambda vm, *_: vm.process.send_signal(signal.SIGTERM),
    NOTICE: lambda vm, *_: vm.announce(),
    GIVEN_UP: reassign,
}


SHORT = (("ours", NOTICE),)
CASES = [
    # What stops the VM is none of the runner's business, which hears of it by a signal in any case; how
    # ours takes one, its own tests say.
    pytest.param(
        (runner, stop),
        id=f"{runner}, {stop}",
        marks=[] if (runner, stop) in SHORT else [pytest.mark.long],
    )
    for runner, stop in product(RUNNERS, STOPS)
]


@pytest.fixture(scope="class")
def reason(case):
    return case[1]


@pytest.fixture(scope="class")
def stopped(case, vm, benchmark_database, startup, reason):
    """The experiment of a VM that was stopped during its trial."""
    experiment = benchmark_database.experiment(RUNNERS[case[0]], trials=1, trial_fn=STAYS)
    vm.env["POWERLIFT_HEARTBEAT_INTERVAL"] = "0.2"
    vm.start(startup(experiment))
    vm.until(lambda: (vm.root / "sleeper").exists() and (vm.root / "sleeper").read_text()[-1:])
    began = time.monotonic()
    STOPS[reason](vm, benchmark_database, experiment)
    vm.wait()
    vm.took = time.monotonic() - began
    return experiment


@pytest.mark.parametrize("case", CASES, indirect=True, scope="class")
class TestStopInTheMiddle:
    def test_the_trial_is_requeued_without_its_measures(
        self, vm, benchmark_database, stopped, reason
    ):
        """A trial that was reassigned is not changed."""
        [trial] = benchmark_database.trials(stopped)
        measures = benchmark_database.sql(
            "SELECT count(*) FROM measure_outcome WHERE trial_id = %s", trial["id"]
        )[0][0]
        found = (trial["runner_id"], trial["start_time"] is None, measures)
        assert found == ((-1, True, 0) if reason != GIVEN_UP else (99, False, 1)), vm.log

    def test_the_trials_processes_are_killed(self, vm, stopped):
        sleeper = (vm.root / "sleeper").read_text().strip()
        assert not os.path.exists(f"/proc/{sleeper}"), vm.log

    def test_the_reason_is_in_log_and_database(self, vm, benchmark_database, stopped, reason):
        recorded = benchmark_database.runner(stopped)["outcome"]
        assert (recorded, f"ending (143): {reason}" in vm.log) == (reason, True), vm.log

    def test_the_vm_is_deleted(self, vm, stopped):
        assert len(vm.azure.deletes) == 1, vm.log

    def test_it_takes_less_than_azures_30_seconds(self, vm, stopped):
        assert vm.took < 30, vm.log

    def test_no_process_is_left(self, vm, stopped):
        assert vm.left() == [], vm.log

    def test_only_a_notice_is_acknowledged(self, vm, stopped, reason):
        approved = [] if reason != NOTICE else [{"StartRequests": [{"EventId": "an-event"}]}]
        assert vm.azure.approved == approved, vm.log
