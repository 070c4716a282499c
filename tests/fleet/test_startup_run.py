"""startup.sh run by bash: a real database, a real venv, programs that pass for Azure's and apt's."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from client.powerlift_fleet import source

INDEX = ("PIP_", "UV_", "SSL_", "HTTP_", "HTTPS_", "http_", "https_", "NO_PROXY", "no_proxy")
"""Variables that tell uv and pip the way to the package index."""

DONE = "raise SystemExit(0)"
ARM_ID = (
    "/subscriptions/sub/resourceGroups/group%20one/providers/Microsoft.Compute/virtualMachines/"
)
LOGS = "def trial(trial):\n    trial.log('n', trial.replicate_num)\n"

ONE_TRIAL = """
import os, psycopg2, sys
database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
with database, database.cursor() as cursor:
    cursor.execute("UPDATE trial SET runner_id = -2, end_time = now() WHERE runner_id = %s",
                   [os.environ["RUNNER_ID"]])
sys.exit(1 if cursor.rowcount else 0)
"""
"""A script as Powerlift's own: one trial per run, exit code 1 while there may be more."""

CRASH = ONE_TRIAL.replace("runner_id = -2, end_time = now()", "method = 'x'").replace(
    "1 if", "139 if"
)
"""A script that takes a trial and dies of it."""


def test_runs_all_trials(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(source(), trials=4, trial_fn=LOGS)

    vm.run(startup(experiment))

    ends = [(row["runner_id"], row["errmsg"]) for row in benchmark_database.trials(experiment)]
    assert ends == [(-2, None)] * 4, vm.log


def test_runs_a_script_that_does_one_trial_at_a_time(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(ONE_TRIAL, trials=7)

    vm.run(startup(experiment))

    assert [row["runner_id"] for row in benchmark_database.trials(experiment)] == [-2] * 7, vm.log


@pytest.fixture(scope="class")
def code(vm, benchmark_database, startup):
    """The exit code of a VM whose experiment had no more work."""
    return vm.run(startup(benchmark_database.experiment(DONE)))


class TestOnceDone:
    def test_ends_with_success_and_says_why(self, vm, code):
        assert (code, "ending (0): no more work" in vm.log) == (0, True), vm.log

    def test_deletes_the_vm_by_its_own_identity(self, vm, code):
        method, path, headers = vm.azure.requests[-1]
        wanted = f"{ARM_ID}powerlift-vm-1-0007?api-version=2024-11-01&forceDeletion=true"
        asked = (method, path, headers["Authorization"])
        assert asked == ("DELETE", wanted, "Bearer a-token"), vm.log

    def test_has_fetched_the_cli_meanwhile(self, vm, code):
        assert vm.calls("curl")[0][-1] == "https://aka.ms/InstallAzureCLIDeb", vm.log

    def test_has_asked_apt_for_nothing_that_was_there(self, vm, code):
        assert vm.calls("apt-get") == [], vm.log

    def test_has_kept_its_files_to_itself(self, vm, code):
        assert not (vm.home.stat().st_mode | (vm.home / "db_url").stat().st_mode) & 0o077


def test_deletion_is_repeated_until_the_role_acts(vm, benchmark_database, startup):
    vm.azure.answers = [403]

    vm.run(startup(benchmark_database.experiment(DONE)))

    assert len(vm.azure.deletes) == 2, vm.log


def test_the_vm_is_turned_off_when_its_deletion_stays_refused(vm, benchmark_database, startup):
    vm.azure.answers = [403] * 9
    vm.env["POWERLIFT_DELETE_PATIENCE"] = "0"

    vm.run(startup(benchmark_database.experiment(DONE)))

    assert vm.calls("shutdown") == [["-h", "now"]], vm.log


def test_deletion_is_left_to_the_cli_where_there_is_one(vm, benchmark_database, startup):
    vm.program("az")

    vm.run(startup(benchmark_database.experiment(DONE)))

    named = ["--resource-group", "group one", "--name", "powerlift-vm-1-0007"]
    wanted = ["vm", "delete", "--yes", "--no-wait", "--subscription", "sub", *named]
    assert (vm.calls("az")[-1], vm.azure.deletes) == (wanted, []), vm.log


def test_deletion_needs_no_cli_that_works(vm, benchmark_database, startup):
    vm.program("az", "exit 1")

    vm.run(startup(benchmark_database.experiment(DONE)))

    assert len(vm.azure.deletes) == 1, vm.log


def test_deletion_is_left_out_when_not_wanted(vm, benchmark_database, startup):
    vm.run(startup(benchmark_database.experiment(DONE), delete_on_complete=False))

    assert (vm.azure.requests, vm.calls("curl")) == ([], []), vm.log


def ended(vm, startup) -> tuple[int, str, int]:
    """Run a VM that cannot do its work: exit code, reason in the console log, deletions."""
    code = vm.run(startup)
    reasons = [line.partition("ending (1): ")[2] for line in vm.log.splitlines()]
    return code, "".join(reasons), len(vm.azure.deletes)


def test_a_missing_experiment_is_said(vm, startup):
    assert ended(vm, startup(987654)) == (1, "experiment 987654 is not in the database", 1), vm.log


def test_an_empty_script_is_said(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(" \n")

    reason = f"the script of experiment {experiment} is empty"
    assert ended(vm, startup(experiment)) == (1, reason, 1), vm.log


def test_an_unreachable_database_is_not_waited_for_too_long(vm, startup):
    vm.env["POWERLIFT_DATABASE_PATIENCE"] = "1"
    uri = "postgresql://u:p@127.0.0.1:1/powerlift"

    reason = "the experiment cannot be read from the database"
    assert ended(vm, startup(1, uri=uri)) == (1, reason, 1), vm.log


def test_a_wheel_that_cannot_be_installed_is_said(vm, benchmark_database, startup):
    vm.program("uv", "exit 1")
    vm.env["POWERLIFT_INSTALL_PATIENCE"] = "0"
    experiment = benchmark_database.experiment(DONE, wheels={"a.whl": b"no wheel"})

    reason = "the experiment's packages cannot be installed"
    assert ended(vm, startup(experiment)) == (1, reason, 1), vm.log


def test_an_unclosed_quote_is_said(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(DONE, pip_install="'numpy")

    reason = "pip_install cannot be split into words: a quote is not closed"
    assert ended(vm, startup(experiment)) == (1, reason, 1), vm.log


def test_a_script_that_python_cannot_read_is_given_up(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment("def", trials=1)

    reason = "the experiment's script ended 5 times in a row without ending a trial"
    assert ended(vm, startup(experiment)) == (1, reason, 1), vm.log


def test_gives_its_trial_back_when_it_gives_up(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment("def", trials=1)

    vm.run(startup(experiment))

    [trial] = benchmark_database.trials(experiment)
    assert (trial["runner_id"], trial["start_time"], trial["errmsg"]) == (-1, None, None), vm.log


def test_marks_the_trial_that_a_runner_died_of_and_goes_on(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(CRASH, trials=2)

    vm.run(startup(experiment))

    message = "The runner ended with exit code 139 while it ran this trial."
    ends = [(row["runner_id"], row["errmsg"]) for row in benchmark_database.trials(experiment)]
    assert ends == [(-2, message)] * 2, vm.log


def test_waits_for_a_database_that_comes_late(vm, benchmark_database, startup):
    benchmark_database.sql("CREATE ROLE late SUPERUSER NOLOGIN PASSWORD 'late'")
    uri = benchmark_database.uri.replace(
        benchmark_database.uri.split("@")[0], "postgresql://late:late"
    )
    experiment = benchmark_database.experiment(DONE)

    vm.start(startup(experiment, uri=uri))
    vm.await_log("read_experiment failed")
    benchmark_database.sql("ALTER ROLE late LOGIN")

    assert vm.wait() == 0, vm.log


def test_takes_any_password(vm, benchmark_database, startup):
    password = "p$$a$HOME \"q\" 'r' \\s `id` 100% :@/?# "
    benchmark_database.sql("CREATE ROLE odd SUPERUSER LOGIN PASSWORD %s", password)
    place = benchmark_database.uri.split("@")[1]
    uri = f"postgresql+psycopg2://odd:{quote(password, safe='$')}@{place}"
    experiment = benchmark_database.experiment(source(), trials=1)

    vm.run(startup(experiment, uri=uri))

    assert benchmark_database.trials(experiment)[0]["runner_id"] == -2, vm.log


def test_shows_the_password_to_nobody(vm, benchmark_database, startup):
    benchmark_database.sql("CREATE ROLE shy SUPERUSER LOGIN PASSWORD 'hidden-treasure'")
    place = benchmark_database.uri.split("@")[1]
    look = 'ps axww >>"$ROOT/seen"; env >>"$ROOT/seen"'
    vm.program("uv", look)
    vm.program("psql", f'{look}; exec {vm.psql}/psql "$@"')
    script = "import os, subprocess\nsubprocess.run('ps axww >>$ROOT/seen', shell=True)"
    experiment = benchmark_database.experiment(script, trials=1)

    vm.run(startup(experiment, uri=f"postgresql://shy:hidden-treasure@{place}"))

    assert "hidden-treasure" not in (vm.root / "seen").read_text() + vm.log


def test_keeps_its_files_to_itself(vm, benchmark_database, startup):
    vm.run(startup(benchmark_database.experiment(DONE)))

    assert not (vm.home.stat().st_mode | (vm.home / "db_url").stat().st_mode) & 0o077


def test_keeps_pins_and_runs_nothing_else_in_pip_install(vm, benchmark_database, startup):
    words = """scikit-learn>=1.3 "numpy<2" 'a b' $(touch x);"""
    experiment = benchmark_database.experiment(DONE, pip_install=words)

    vm.run(startup(experiment))

    wanted = ["scikit-learn>=1.3", "numpy<2", "a b", "$(touch", "x);"]
    assert vm.calls("uv")[-1][-5:] == wanted, vm.log


def test_gives_shell_install_to_apt(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(DONE, shell_install='libgomp1 "g++"')

    vm.run(startup(experiment))

    assert vm.calls("apt-get")[-1][-3:] == ["install", "libgomp1", "g++"], vm.log


def test_asks_apt_for_nothing_that_is_there(vm, benchmark_database, startup):
    vm.run(startup(benchmark_database.experiment(DONE)))

    assert vm.calls("apt-get") == [], vm.log


def test_installs_wheels_byte_for_byte(vm, benchmark_database, startup):
    wheel = os.urandom(100_000)
    experiment = benchmark_database.experiment(DONE, wheels={"../it's/a-1-py3-none-any.whl": wheel})

    vm.run(startup(experiment))

    file = vm.calls("uv")[-1][-1]
    assert (file, (vm.home / file).read_bytes()) == ("wheels/a-1-py3-none-any.whl", wheel), vm.log


SLEEPS = """
def trial(trial):
    import os, pathlib, subprocess
    trial.log("half", 1)
    sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    pathlib.Path(os.environ["ROOT"], "sleeper").write_text(f"{sleeper.pid} ")
    sleeper.wait()
"""


@pytest.fixture(scope="class")
def stopped(vm, benchmark_database, startup):
    """The experiment of a VM that was stopped in the middle of its trial."""
    experiment = benchmark_database.experiment(source(), trials=1, trial_fn=SLEEPS)
    vm.start(startup(experiment))
    vm.until(lambda: (vm.root / "sleeper").exists() and (vm.root / "sleeper").read_text()[-1:])
    vm.process.send_signal(signal.SIGTERM)
    vm.wait()
    return experiment


class TestSigterm:
    def test_gives_the_trial_back_without_its_measures(self, vm, benchmark_database, stopped):
        [trial] = benchmark_database.trials(stopped)
        measures = benchmark_database.sql(
            "SELECT count(*) FROM measure_outcome WHERE trial_id = %s", trial["id"]
        )[0][0]
        assert (trial["runner_id"], trial["start_time"], measures) == (-1, None, 0), vm.log

    def test_ends_what_the_trial_started_and_deletes_the_vm(self, vm, stopped):
        sleeper = (vm.root / "sleeper").read_text().strip()
        running = os.path.exists(f"/proc/{sleeper}")
        assert (running, len(vm.azure.deletes)) == (False, 1), vm.log


@pytest.mark.parametrize(
    "with_uv",
    [pytest.param(True, marks=pytest.mark.slow), pytest.param(False, marks=pytest.mark.long)],
)
def test_installs_powerlift_and_runs_on_it(vm, benchmark_database, startup, with_uv):
    """With the real package index: whichever driver SQLAlchemy then wants is there."""
    (vm.root / "bin" / "uv").unlink()
    if with_uv:
        uv = shutil.which("uv", path=str(Path(sys.executable).parent))
        (vm.root / "bin" / "uv").symlink_to(uv)
    vm.without_packages = True
    vm.env |= {name: value for name, value in os.environ.items() if name.startswith(INDEX)}
    experiment = benchmark_database.experiment(source(), trials=2, trial_fn=LOGS)

    vm.run(startup(experiment, uri=benchmark_database.uri), 300)

    ends = [(row["runner_id"], row["errmsg"]) for row in benchmark_database.trials(experiment)]
    assert ends == [(-2, None)] * 2, vm.log
