"""The trial runner, run as a VM runs it: a script with four environment variables, and a database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client.powerlift_fleet import source


@dataclass
class Runner:
    """Runs experiments in a directory of their own."""

    directory: Path
    database: Any

    def start(self, experiment: int, **environment: str) -> subprocess.Popen[str]:
        script = self.directory / "startup.py"
        script.write_text(source())
        contract = {
            "EXPERIMENT_ID": str(experiment),
            "RUNNER_ID": "3",
            "DB_URL": self.database.uri.replace("://", "+psycopg2://", 1),
            "TIMEOUT": "",
        }
        return subprocess.Popen(
            [sys.executable, str(script)], cwd=self.directory, text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", **contract, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, trial_fn: str, trials: int = 1, **environment: str) -> list[dict[str, Any]]:
        """Run an experiment to its end; the trials as the database has them then."""
        experiment = self.database.experiment("", trials=trials, trial_fn=trial_fn)
        process = self.start(experiment, **environment)
        self.output, _ = process.communicate(timeout=60)
        self.code = process.returncode
        return list(self.database.trials(experiment))

    def measures(self, trial: dict[str, Any]) -> list[tuple[str, str]]:
        statement = "SELECT name, val FROM measure_outcome WHERE trial_id = %s ORDER BY id"
        return list(self.database.sql(statement, trial["id"]))

    def wait_for(self, file: str) -> str:
        """The content of a file that a trial writes into the directory."""
        deadline = time.monotonic() + 30
        path = self.directory / file
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return path.read_text()


@pytest.fixture(scope="class")
def runner(tmp_path_factory, benchmark_database):
    """A new one for each function, and one for all tests of a class."""
    return Runner(tmp_path_factory.mktemp("runner"), benchmark_database)


def alive(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("timeout", ["None", "inf", "1000000000.0"])
def test_no_limit_is_said_in_many_ways(runner, timeout):
    [trial] = runner.run("def f(trial): pass", TIMEOUT=timeout)
    assert (runner.code, trial["runner_id"], trial["errmsg"]) == (0, -2, None), runner.output


def test_a_measure_is_stored(runner):
    [trial] = runner.run("def f(trial): trial.log('score', 0.5)")
    assert runner.measures(trial) == [("score", "0.5")], runner.output


def test_bad_trials_are_recorded_and_the_next_is_run(runner):
    ways = """
def f(trial):
    import os, signal, sys
    n = trial.replicate_num
    if n == 0: raise KeyError("lost")
    if n == 1: os.kill(os.getpid(), signal.SIGSEGV)
    if n == 2: os._exit(7)
    if n == 3: sys.exit("enough\\0")
"""
    trials = runner.run(ways, trials=5)
    said = ["KeyError: 'lost'", "killed by SIGSEGV", "exit code 7", "SystemExit: enough"]
    texts = [trial["errmsg"] for trial in trials]
    found = [word in text for word, text in zip(said, texts, strict=False)]
    assert (found, texts[4], runner.code) == ([True] * 4, None, 0), texts


def test_a_traceback_shows_the_line_of_the_trial_function(runner):
    [trial] = runner.run("def f(trial):\n    unknown_name\n")
    assert "    unknown_name\n" in trial["errmsg"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(trial", "SyntaxError"),
        ("x = 1", "defines no function"),
    ],
)
def test_a_function_that_cannot_be_run_fails_its_trials(runner, text, reason):
    trials = runner.run(text, trials=2)
    assert [reason in trial["errmsg"] for trial in trials] == [True, True], runner.output


def test_takes_an_indented_function_after_its_imports(runner):
    [trial] = runner.run("    import math\n    def f(trial):\n        trial.log('pi', math.pi)\n")
    assert trial["errmsg"] is None


def test_what_trials_import_is_imported_once(runner):
    [trial] = runner.run("""
def f(trial):
    import sys
    trial.log("known", "scipy" in sys.modules)
    import scipy
""")
    assert runner.measures(trial) == [("known", "1.0")], trial["errmsg"]


def test_replicates_draw_different_numbers(runner):
    runner.run("def f(trial):\n    import numpy as np\n    trial.log('draw', np.random.rand())", 2)
    draws = runner.database.sql("SELECT val FROM measure_outcome WHERE name = 'draw'")
    assert len(set(draws)) == 2


SLOW = """
def f(trial):
    import subprocess, time
    if trial.replicate_num == 0:
        away = subprocess.Popen(["setsid", "--fork", "sh", "-c", "echo $$ >away; exec sleep 1000"])
        time.sleep(1000)
"""


@pytest.fixture(scope="class")
def trials(runner):
    return runner.run(SLOW, trials=2, TIMEOUT="1")


class TestTimeout:
    def test_is_recorded_and_the_next_trial_is_run(self, trials):
        texts = [trial["errmsg"] for trial in trials]
        assert texts == ["Timeout failure: the trial was killed after 1 s.", None]

    def test_ends_what_has_left_the_process_group(self, runner, trials):
        assert not alive(runner.wait_for("away").strip())


def test_leftovers_of_a_good_trial_are_ended(runner):
    runner.run("""
def f(trial):
    import pathlib, subprocess
    pathlib.Path("left").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
""")
    assert not alive(runner.wait_for("left"))


@pytest.fixture(scope="class")
def stopped(runner):
    """A runner that got SIGTERM while its trial ran."""
    text = """
def f(trial):
    import os, pathlib, time
    pathlib.Path("trial").write_text(str(os.getpid()))
    time.sleep(1000)
"""
    experiment = runner.database.experiment("", trials=1, trial_fn=text)
    process = runner.start(experiment)
    runner.wait_for("trial")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    runner.code = process.returncode
    return runner.database.trials(experiment)[0]


class TestSigterm:
    def test_leaves_the_trial_open(self, stopped):
        assert (stopped["runner_id"], stopped["end_time"]) == (3, None)

    def test_ends_the_trial_and_says_so(self, runner, stopped):
        assert (alive(runner.wait_for("trial")), runner.code) == (False, 143)


def test_needs_one_connection_at_most(runner):
    """A server has a few hundred connections; a fleet may have as many VMs."""
    count = """
def f(trial):
    from sqlalchemy import text
    mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mine'"
    trial.store.reset()
    with trial.store as store:
        connections = store.session.execute(text(mine)).scalar()
    trial.log("connections", connections)
"""
    url = runner.database.uri.replace("://", "+psycopg2://", 1) + "?application_name=mine"
    [trial] = runner.run(count, DB_URL=url)
    assert runner.measures(trial) == [("connections", "1.0")], trial["errmsg"]


def test_a_missing_experiment_is_the_runners_failure(runner):
    process = runner.start(987654)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "987654 is not in the database" in output) == (65, True)


def test_a_failure_shows_no_password(runner):
    secret = "postgresql+nodriver://u:hidden-treasure@127.0.0.1/d"
    process = runner.start(1, DB_URL=secret)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "hidden-treasure" in output) == (65, False)
