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
from powerlift_fleet import runner_script
from powerlift_fleet.runner import _message

from tests.error_messages import ERROR_MESSAGES


@dataclass
class Runner:
    """Runs experiments, each in a separate directory."""

    directory: Path
    database: Any

    def start(self, experiment: int, **environment: str) -> subprocess.Popen[str]:
        script = self.directory / "startup.py"
        script.write_text(runner_script())
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
        """Run an experiment to its end; returns its trials from the database."""
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
    """A new runner for each function; one for all tests of a class."""
    return Runner(tmp_path_factory.mktemp("runner"), benchmark_database)


def alive(pid: str) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_failed_trials_are_recorded_and_the_next_one_runs(runner):
    ways = """
def f(trial):
    import os, signal, sys
    n = trial.replicate_num
    if n == 0: raise KeyError("lost")
    if n == 1: os.kill(os.getpid(), signal.SIGSEGV)
    if n == 2: os._exit(7)
    if n == 3: sys.exit("enough\\0\\udc80")
"""
    trials = runner.run(ways, trials=5)
    expected = [
        "KeyError: 'lost'",
        "killed by SIGSEGV. A segmentation fault",
        "exit code 7",
        r"SystemExit: enough\x00\udc80",
    ]
    texts = [trial["errmsg"] for trial in trials]
    found = [word in text for word, text in zip(expected, texts, strict=False)]
    assert (found, texts[4], runner.code) == ([True] * 4, None, 0), texts


@pytest.mark.long
def test_a_traceback_shows_the_line_of_the_trial_function(runner):
    [trial] = runner.run("def f(trial):\n    unknown_name\n")
    assert "    unknown_name\n" in trial["errmsg"]


@pytest.mark.long
def test_the_console_shows_the_error_without_the_password(runner):
    trial_fn = "def f(trial):\n    import os\n    raise ValueError('no ' + os.environ['DB_URL'])\n"
    runner.run(trial_fn)
    told = next(line for line in runner.output.splitlines() if "failed after" in line)
    assert (told.partition(" s: ")[2], runner.database.uri in told) == (
        "ValueError: no DB_URL",
        False,
    )


@pytest.mark.parametrize(("text", "shown"), ERROR_MESSAGES)
def test_the_console_has_the_exceptions_message(text, shown):
    assert _message(text) == shown


MEASURES = r"""
def f(trial):
    if trial.replicate_num == 0: trial.log("n\0m", "a\0b\udc80")
    if trial.replicate_num == 1: trial.log("m", {"a\0": "\udc80"})
    if trial.replicate_num == 2: trial.log("m" * 300, 1)
"""


@pytest.mark.long
def test_text_that_the_database_cannot_store_is_escaped_or_fails_the_trial_at_once(runner):
    """Powerlift's own retries all of these, which cannot succeed."""
    trials = runner.run(MEASURES, trials=3, POWERLIFT_DATABASE_TIMEOUT="3600")
    measures = [runner.measures(trial) for trial in trials]
    assert measures == [[(r"n\x00m", r"a\x00b\udc80")], [("m", r'{"a\u0000": "\udc80"}')], []]
    assert "value too long" in next(line for line in runner.output.splitlines() if "failed" in line)


@pytest.mark.long
def test_data_are_read_as_powerlift_writes_them(runner):
    """pandas prefers pyarrow where it is installed, which reads fastparquet's categories as text."""
    [trial] = runner.run("""
def f(trial):
    import pandas
    trial.log("engine", pandas.get_option("io.parquet.engine"))
""")
    assert runner.measures(trial) == [("engine", "fastparquet")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(trial", "SyntaxError"),
        pytest.param("x = 1", "defines no function", marks=pytest.mark.long),
    ],
)
def test_an_invalid_function_fails_its_trials(runner, text, reason):
    trials = runner.run(text, trials=2)
    assert [reason in trial["errmsg"] for trial in trials] == [True, True], runner.output


@pytest.mark.long
def test_an_indented_function_after_its_imports_runs(runner):
    [trial] = runner.run("    import math\n    def f(trial):\n        trial.log('pi', math.pi)\n")
    assert trial["errmsg"] is None


@pytest.mark.long
def test_imports_of_trials_are_preloaded(runner):
    [trial] = runner.run("""
def f(trial):
    import sys
    trial.log("known", "scipy" in sys.modules)
    import scipy
""")
    assert runner.measures(trial) == [("known", "1.0")], trial["errmsg"]


@pytest.mark.long
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
    def test_is_recorded_and_the_next_trial_runs(self, trials):
        texts = [trial["errmsg"] for trial in trials]
        assert texts == ["Timeout failure: the trial was killed after 1 s.", None]

    def test_kills_processes_that_left_the_process_group(self, runner, trials):
        assert not alive(runner.wait_for("away").strip())


EATS = r"""
def f(trial):
    import subprocess, sys
    if trial.replicate_num == 0:
        text = "import time; x = b'x' * (700 << 20); time.sleep(1000)"
        subprocess.Popen([sys.executable, "-c", text]).wait()
    else:
        burn = "import time\nwhile time.process_time() < 0.3: pass"
        subprocess.Popen(["setsid", sys.executable, "-S", "-c", burn])  # an orphan, later
        subprocess.run([sys.executable, "-S", "-c", burn])
        exec(burn)
"""


@pytest.fixture(scope="class")
def eaten(runner):
    """The trials, and what each used."""
    trials = runner.run(EATS, trials=2, MEMORY_LIMIT="600M")
    columns = ("wall_seconds", "user_seconds", "system_seconds", "steal_seconds", "max_rss_bytes")
    used = runner.database.sql(
        f"SELECT {', '.join(columns)} FROM powerlift_fleet_trial WHERE trial_id = ANY(%s)"
        " AND measured_at > now() - interval '1 hour' ORDER BY trial_id",
        [trial["id"] for trial in trials],
    )
    return trials, [dict(zip(columns, row, strict=True)) for row in used]


class TestUse:
    @pytest.mark.long
    def test_the_memory_limit_includes_child_processes(self, runner, eaten):
        kinds = [(trial["errmsg"] or "no error").partition(":")[0] for trial in eaten[0]]
        assert kinds == ["Memory failure", "no error"], runner.output

    def test_the_memory_of_a_trial_is_that_of_its_largest_process(self, eaten):
        first, second = (used["max_rss_bytes"] for used in eaten[1])
        assert first > 450 << 20 > second > 10 << 20  # of 600 with the other process

    def test_the_cpu_time_of_a_trial_includes_its_child_processes(self, eaten):
        """Waited for or not: the orphan has used some of its 0.3 s before it is killed."""
        used = eaten[1][1]
        assert used["user_seconds"] + used["system_seconds"] > 0.6
        assert 0.6 < used["wall_seconds"] < 60

    def test_steal_time_is_that_of_the_machine(self, eaten):
        assert [used["steal_seconds"] >= 0 for used in eaten[1]] == [True, True]


@pytest.mark.long
def test_a_table_of_an_earlier_app_has_no_measures(runner):
    """Its trials run all the same."""
    names = ("wall_seconds", "user_seconds", "system_seconds", "steal_seconds", "max_rss_bytes")
    renames = "ALTER TABLE powerlift_fleet_trial RENAME COLUMN {} TO {}"
    runner.database.sql(renames.format("measured_at", "later"))
    try:
        [trial] = runner.run("def f(trial): pass")
    finally:
        runner.database.sql(renames.format("later", "measured_at"))
    found = runner.database.sql(
        f"SELECT runner_id, {', '.join(names)} FROM powerlift_fleet_trial WHERE trial_id = %s",
        trial["id"],
    )
    assert (trial["errmsg"], found) == (None, [(3, *[None] * 5)]), runner.output


TAKEN = """
def f(trial):
    import os, psycopg2
    if trial.replicate_num == 0:
        database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
        with database, database.cursor() as cursor:
            cursor.execute("UPDATE trial SET runner_id = 99 WHERE id = %s", [trial.id])
        trial.log("late", 1)
"""
"""Is given to another runner in the middle."""


@pytest.fixture(scope="class")
def taken(runner):
    return runner.run(TAKEN, trials=2)


@pytest.mark.long
class TestATrialThatWasGivenToAnother:
    def test_its_end_is_not_recorded(self, runner, taken):
        assert (taken[0]["runner_id"], taken[0]["end_time"]) == (99, None), runner.output

    def test_its_measures_are_not_recorded(self, runner, taken):
        assert runner.measures(taken[0]) == [], runner.output

    def test_is_logged(self, runner, taken):
        assert f"trial {taken[0]['id']} was reassigned" in runner.output

    def test_the_next_trial_runs(self, runner, taken):
        assert (taken[1]["runner_id"], runner.code) == (-2, 0), runner.output


DRAINED = """
def f(trial):
    import os, psycopg2
    database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
    with database, database.cursor() as cursor:
        cursor.execute("INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, outcome)"
                       " VALUES (%s, 3, 'max_cost')", [os.environ["EXPERIMENT_ID"]])
"""
"""The fleet starts to drain during the first trial."""


@pytest.mark.long
def test_a_drained_fleet_runs_no_other_trial(runner):
    trials = runner.run(DRAINED, trials=2)
    ended = [trial["end_time"] is not None for trial in trials]
    assert (ended, trials[1]["runner_id"], runner.code) == ([True, False], -1, 0), runner.output
    assert "the fleet starts no more trials" in runner.output


def test_child_processes_of_a_completed_trial_are_killed(runner):
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

    def test_stops_the_trial_and_logs_it(self, runner, stopped):
        assert (alive(runner.wait_for("trial")), runner.code) == (False, 143)


@pytest.mark.long
def test_the_runner_uses_one_connection_at_most(runner):
    """A server has a few hundred connections, and a fleet may have as many VMs."""
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


@pytest.mark.long
def test_a_missing_experiment_fails_the_runner(runner):
    process = runner.start(987654)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "987654 does not exist in the database" in output) == (65, True)


def test_a_failure_does_not_show_the_password(runner):
    secret = "postgresql+nodriver://u:hidden-treasure@127.0.0.1/d"
    process = runner.start(1, DB_URL=secret)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, "hidden-treasure" in output) == (65, False)
