"""startup.sh in bash, with a real database, a real venv, and substitutes for Azure and apt."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from powerlift_fleet import runner_script

from fleet.model.names import runner_id
from fleet.vm.render import pinned_version
from tests.fleet.vm.packages import lock_of
from tests.fleet.vm.scripts import DONE, LOGS, ONE_TRIAL_SCRIPT

INDEX = ("PIP_", "UV_", "SSL_", "HTTP_", "HTTPS_", "http_", "https_", "NO_PROXY", "no_proxy")
"""Variables that configure the package index of uv and pip."""

ONE_TRIAL = """
import os, psycopg2, sys
database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
with database, database.cursor() as cursor:
    cursor.execute("UPDATE trial SET runner_id = -2, end_time = now() WHERE runner_id = %s",
                   [os.environ["RUNNER_ID"]])
sys.exit(1 if cursor.rowcount else 0)
"""
"""A script as Powerlift's own: one trial per run, exit code 1 while there may be more."""

WAITS_FOR_OTHER_VM = """
def trial(trial):
    import os, pathlib, time
    meeting = pathlib.Path(os.environ["MEETING"])
    trial.log("n", 1)
    (meeting / f"runner-{os.environ['RUNNER_ID']}").touch()
    while len(list(meeting.glob("runner-*"))) < 2:
        time.sleep(0.02)
"""
"""Waits until the other VM runs a trial too."""

HELD = """
def trial(trial):
    import os, pathlib, time
    pathlib.Path(os.environ["ROOT"], "running").touch()
    while not pathlib.Path(os.environ["ROOT"], "go").exists():
        time.sleep(0.02)
"""


@pytest.mark.long
def test_no_timeout_lets_trials_run(vm, benchmark_database, startup):
    """Powerlift's VM passes "None", which its runner cannot parse: no trial runs."""
    experiment = benchmark_database.experiment(ONE_TRIAL_SCRIPT, trials=1, trial_fn=LOGS)

    vm.run(startup(experiment, timeout=None))

    [trial] = benchmark_database.trials(experiment)
    assert (trial["runner_id"], trial["errmsg"]) == (-2, None), vm.log


@pytest.mark.long
def test_no_trial_is_measured_by_two_batches(vm, other_vm, benchmark_database, startup):
    """Powerlift numbers runners from 0 in each batch, and a runner claims the trials with its number."""
    experiment = benchmark_database.experiment(
        runner_script(), trials=2, trial_fn=WAITS_FOR_OTHER_VM
    )
    for number, machine in enumerate((vm, other_vm)):
        machine.env["MEETING"] = str(vm.root)
        machine.start(startup(experiment, runner_id=runner_id(number, 0)))
    for machine in (vm, other_vm):
        machine.wait()

    counts = benchmark_database.sql(
        "SELECT count(m.id) FROM trial t LEFT JOIN measure_outcome m ON m.trial_id = t.id"
        " WHERE t.experiment_id = %s GROUP BY t.id",
        experiment,
    )
    assert counts == [(1,), (1,)], vm.log + other_vm.log


@pytest.mark.long
def test_a_script_that_runs_one_trial_per_process_is_repeated(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(ONE_TRIAL, trials=7)

    vm.run(startup(experiment))

    assert [row["runner_id"] for row in benchmark_database.trials(experiment)] == [-2] * 7, vm.log


@pytest.mark.long
def test_no_downloaded_program_is_run(vm, benchmark_database, startup):
    """Powerlift's VM passes a page to bash, as root, without checking that it is a script."""
    for name in ("az", "curl", "wget"):
        vm.program(name)

    vm.run(startup(benchmark_database.experiment("import time\ntime.sleep(0.5)")))

    called = [name for name in ("az", "curl", "wget") if vm.calls(name)]
    assert (called, len(vm.azure.deletes)) == ([], 1), vm.log


def outcome_of(vm, database, startup) -> tuple[int, str, str | None, int]:
    """Run a VM that fails: exit code, reason in the console log and in the database,
    deletions."""
    code = vm.run(startup)
    reasons = [line.partition(f"ending ({code}): ")[2] for line in vm.log.splitlines()]
    recorded = [row["outcome"] for row in database.runners(startup.experiment_id)]
    return code, "".join(reasons), "".join(recorded), len(vm.azure.deletes)


def test_a_missing_experiment_is_reported(vm, benchmark_database, startup):
    """Powerlift's VM treats the empty script as a success."""
    reason = "experiment 987654 does not exist in the database"
    assert outcome_of(vm, benchmark_database, startup(987654)) == (78, reason, reason, 1), vm.log


@pytest.mark.long
def test_an_empty_script_is_reported(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(" \n")

    reason = f"the script of experiment {experiment} is empty"
    assert outcome_of(vm, benchmark_database, startup(experiment)) == (78, reason, reason, 1), (
        vm.log
    )


def test_waiting_for_an_unreachable_database_times_out(vm, benchmark_database, startup):
    """Powerlift's VM waits for 25 hours."""
    vm.env["POWERLIFT_DATABASE_TIMEOUT"] = "1"
    uri = "postgresql://u:p@127.0.0.1:1/powerlift"

    reason = (
        "failed to read the experiment from the database: "
        'connection to server at "127.0.0.1", port 1 failed: Connection refused'
    )
    assert outcome_of(vm, benchmark_database, startup(1_000_001, uri=uri)) == (1, reason, "", 1), (
        vm.log
    )


@pytest.mark.long
def test_waiting_for_a_lost_database_times_out(vm, benchmark_database, startup):
    """Powerlift's runner waits forever, with growing pauses."""
    benchmark_database.sql("CREATE ROLE gone SUPERUSER LOGIN PASSWORD 'gone'")
    vm.env["POWERLIFT_DATABASE_TIMEOUT"] = "1"
    experiment = benchmark_database.experiment(runner_script(), trials=1, trial_fn=HELD)
    place = benchmark_database.uri.split("@")[1]

    vm.start(startup(experiment, uri=f"postgresql+psycopg2://gone:gone@{place}"))
    vm.until(lambda: (vm.root / "running").exists())
    benchmark_database.sql("ALTER ROLE gone NOLOGIN")
    (vm.root / "go").touch()
    code = vm.wait()

    logged = "ending (1): lost the connection to the database" in vm.log
    assert (code, logged, len(vm.azure.deletes)) == (1, True, 1), vm.log


@pytest.mark.long
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("b-1-py3-none-any.whl", id="last", marks=pytest.mark.long),
        pytest.param("a-1-py3-none-any.whl", id="first of two"),
    ],
)
def test_a_wheel_that_cannot_be_installed_is_reported(vm, benchmark_database, startup, bad):
    """Powerlift's VM exits only from the subshell of its loop over the wheels, and continues."""
    vm.program("uv", f"[[ ! $(<requirements.in) =~ wheels/{bad} ]]")
    vm.env["POWERLIFT_INSTALL_TIMEOUT"] = "0"
    wheels = {"a-1-py3-none-any.whl": b"no wheel", "b-1-py3-none-any.whl": b"no wheel"}
    experiment = benchmark_database.experiment(DONE, wheels=wheels)

    reason = "failed to resolve the experiment's packages"
    assert outcome_of(vm, benchmark_database, startup(experiment)) == (1, reason, reason, 1), vm.log


@pytest.mark.long
def test_an_unclosed_quote_is_reported(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(DONE, pip_install="'numpy")

    reason = "invalid pip_install: unclosed quote"
    assert outcome_of(vm, benchmark_database, startup(experiment)) == (78, reason, reason, 1), (
        vm.log
    )


@pytest.fixture(scope="class")
def abandoned(vm, benchmark_database, startup):
    """The outcome of a VM whose script fails, and its trial."""
    vm.program("sleep", "[[ $1 != 60 && $1 != 5 ]] || exec /bin/sleep $1")
    vm.env["POWERLIFT_RUN_BACKOFF"] = "2"
    experiment = benchmark_database.experiment("1 / 0", trials=1)
    end = outcome_of(vm, benchmark_database, startup(experiment))
    [trial] = benchmark_database.trials(experiment)
    return end, trial


class TestAScriptThatAlwaysFails:
    @pytest.mark.long
    def test_a_script_that_always_fails_is_abandoned(self, vm, abandoned):
        """Powerlift's VM restarts it forever: Python's exit code 1 also means more work."""
        reason = "the experiment's script exited 5 times in a row without finishing a trial"
        assert abandoned[0] == (1, reason, reason, 1), vm.log

    def test_its_trial_is_requeued(self, vm, abandoned):
        _, trial = abandoned
        assert (trial["runner_id"], trial["start_time"], trial["errmsg"]) == (-1, None, None), (
            vm.log
        )

    def test_it_is_retried_with_backoff(self, vm, abandoned):
        pauses = [seconds for [seconds] in vm.calls("sleep") if seconds not in ("0.1", "5", "60")]
        assert pauses == ["0", "2", "8", "18", "32"], vm.log


@pytest.mark.long
def test_apt_waits_for_its_lock_and_is_retried(vm, benchmark_database, startup):
    """Without the wait, the VM would lack Python's venv, psql and other packages."""
    vm.program(
        "python3",
        f"""
        [[ "$*" != *ensurepip* || -e $ROOT/installed ]] && exec {sys.executable} "$@"; exit 1""",
    )
    vm.program(
        "apt-get",
        """
        [[ $DEBIAN_FRONTEND == noninteractive && "$*" == *DPkg::Lock::Timeout=* ]] || exit 100
        [[ -e $ROOT/failed ]] || { touch "$ROOT/failed"; exit 100; }
        [[ "$*" != *install*python3-venv* ]] || touch "$ROOT/installed" """,
    )

    code = vm.run(startup(benchmark_database.experiment(DONE)))

    assert (code, (vm.root / "installed").exists()) == (0, True), vm.log


@pytest.mark.long
def test_the_script_does_not_wait_for_scheduled_events(vm, benchmark_database, startup):
    """Azure's first response takes up to two minutes."""
    vm.azure.answers_event_queries.clear()

    vm.run(startup(benchmark_database.experiment(DONE)))

    assert len(vm.azure.deletes) == 1, vm.log


@pytest.mark.long
def test_pip_install_keeps_pins_and_runs_no_shell_code(vm, benchmark_database, startup):
    words = """scikit-learn>=1.3 "numpy<2" 'a b' $(touch x);"""
    experiment = benchmark_database.experiment(DONE, pip_install=words)

    vm.run(startup(experiment))

    wanted = ["scikit-learn>=1.3", "numpy<2", "a b", "$(touch", "x);"]
    assert (vm.home / "requirements.in").read_text().splitlines()[-5:] == wanted, vm.log


@pytest.mark.long
def test_a_tool_that_the_experiment_installs_is_not_pinned(vm, benchmark_database, startup):
    """By version, URL or wheel: a second version would cause a conflict."""
    words = "Powerlift[x]>=0.2 git+https://host/all.git#subdirectory=lib/psycopg psycopg2_binary"
    wheels = {"setuptools-80.1-py3-none-any.whl": b""}
    experiment = benchmark_database.experiment(DONE, pip_install=words, wheels=wheels)

    vm.run(startup(experiment))

    tools = set((vm.home / "tools").read_text().splitlines())
    wanted = {"powerlift", "psycopg[binary]", "psycopg2-binary", "setuptools"}
    resolved = (vm.home / "requirements.in").read_text().splitlines()
    assert (tools, "setuptools<82" in resolved) == (wanted, True), vm.log


@pytest.mark.long
def test_shell_install_is_passed_to_apt(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(DONE, shell_install='libgomp1 "g++"')

    vm.run(startup(experiment))

    assert vm.calls("apt-get")[-1][-3:] == ["install", "libgomp1", "g++"], vm.log


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "ran"),
    [
        ('libgomp1 && echo "$(id -u)" >"$ROOT/ran"', f"{os.getuid()}\n"),
        pytest.param("libgomp1; cat <<<'a b' >$ROOT/ran", "a b\n", marks=pytest.mark.long),
        ("libgomp1 '>$ROOT/ran' `touch $ROOT/ran` \n g++", None),
    ],
    ids=["commands", "two commands", "quoted operators are data"],
)
def test_runs_shell_install_as_commands_where_it_has_operators(
    vm, benchmark_database, startup, text, ran
):
    """As Powerlift's eval does."""
    vm.run(startup(benchmark_database.experiment(DONE, shell_install=text)))

    file, packages = vm.root / "ran", vm.calls("apt-get")[-1]
    assert (file.read_text() if file.exists() else None) == ran, vm.log
    assert packages[packages.index("install") + 1] == "libgomp1"


@pytest.mark.long
def test_a_failed_command_of_shell_install_is_reported(vm, benchmark_database, startup):
    vm.env["POWERLIFT_INSTALL_TIMEOUT"] = "0"
    experiment = benchmark_database.experiment(DONE, shell_install="libgomp1 && false")

    reason = "the commands in the experiment's shell_install failed"
    assert outcome_of(vm, benchmark_database, startup(experiment)) == (1, reason, reason, 1), vm.log


@pytest.mark.long
def test_wheels_are_installed_byte_for_byte(vm, benchmark_database, startup):
    wheel = os.urandom(100_000)
    experiment = benchmark_database.experiment(DONE, wheels={"../it's/a-1-py3-none-any.whl": wheel})

    vm.run(startup(experiment))

    file = (vm.home / "requirements.in").read_text().splitlines()[-1]
    assert (file, (vm.home / file).read_bytes()) == ("wheels/a-1-py3-none-any.whl", wheel), vm.log


@pytest.mark.long  # the examples' VMs install the same, from uv's cache
@pytest.mark.parametrize("with_uv", [True, False])
def test_powerlift_is_installed_and_runs(vm, benchmark_database, startup, with_uv):
    """With the real package index, the driver that SQLAlchemy selects is installed."""
    (vm.root / "bin" / "uv").unlink()
    if with_uv:
        uv = shutil.which("uv", path=str(Path(sys.executable).parent))
        (vm.root / "bin" / "uv").symlink_to(uv)
    vm.without_packages = True
    vm.env |= {name: value for name, value in os.environ.items() if name.startswith(INDEX)}
    experiment = benchmark_database.experiment(runner_script(), trials=2, trial_fn=LOGS)

    vm.run(startup(experiment, uri=benchmark_database.uri), 300)

    lock = lock_of(benchmark_database, startup(experiment))
    assert f"\npowerlift=={pinned_version('powerlift')} \\\n    --hash=sha256:" in lock, vm.log
    ends = [(row["runner_id"], row["errmsg"]) for row in benchmark_database.trials(experiment)]
    assert (ends, (vm.home / "venv" / "bin" / "uv").exists()) == ([(-2, None)] * 2, not with_uv), (
        vm.log
    )
