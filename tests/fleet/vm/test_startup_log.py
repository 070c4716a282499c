"""The console log that a VM stores in the database, however it ends."""

from __future__ import annotations

import signal
import subprocess

import pytest

from fleet.store.vm_logs import LIMIT
from fleet.vm.render import render

PRINTS = """
import os, sys
sys.stdout.buffer.write(b"here: \\xff\\x00 \\xe2\\x82\\xac\\n")
sys.stdout.flush()
"""
WAITS = "import os, pathlib, time\npathlib.Path(os.environ['ROOT'], 'up').touch()\ntime.sleep(1000)"
PRINTS_MUCH = f"print('first words')\nfor n in range({LIMIT // 10}):\n    print('{'x' * 20}', n)"


def log_of(database, experiment) -> str:
    return str(database.runner(experiment)["log"])


@pytest.mark.long
def test_the_log_ends_with_success(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment("print('at work')")

    vm.run(startup(experiment))

    log = log_of(benchmark_database, experiment)
    assert ("at work" in log, log.splitlines()[-1][31:]) == (True, "ending (0): no more work"), (
        vm.log
    )


def test_the_log_ends_with_a_failure(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment("print('at work')", pip_install="'numpy")

    vm.run(startup(experiment))

    ending = "ending (78): invalid pip_install: unclosed quote"
    assert ending in log_of(benchmark_database, experiment), vm.log


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_the_log_ends_with_a_signal(vm, benchmark_database, startup, number):
    experiment = benchmark_database.experiment(WAITS, trials=1)

    vm.start(startup(experiment))
    vm.until(lambda: (vm.root / "up").exists())
    vm.process.send_signal(number)
    vm.wait()

    row = benchmark_database.runner(experiment)
    assert (row["outcome"], "ending (143): stopped" in row["log"]) == (
        "stopped by a signal",
        True,
    ), vm.log


@pytest.mark.long
def test_invalid_bytes_are_replaced(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(PRINTS)

    vm.run(startup(experiment))

    assert "here: \N{REPLACEMENT CHARACTER} \N{EURO SIGN}\n" in log_of(
        benchmark_database, experiment
    )


@pytest.mark.long
def test_the_end_of_a_long_log_is_stored(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(PRINTS_MUCH)

    vm.run(startup(experiment))

    log = log_of(benchmark_database, experiment)
    shown = (len(log), "first words" in log, log.endswith("no more work\n"))
    assert shown == (LIMIT, False, True), vm.log[-2000:]


@pytest.mark.long
def test_a_console_of_invalid_bytes_is_stored(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment(PRINTS.replace("here: \\xff", "\\xff' * 99999 + b'"))

    vm.run(startup(experiment))

    assert log_of(benchmark_database, experiment).endswith("no more work\n"), vm.log[-500:]


@pytest.mark.long
def test_if_the_console_is_a_pipe_cloud_inits_log_is_read(vm, benchmark_database, startup):
    experiment = benchmark_database.experiment("print('at work')")
    vm.program("tail", '[[ $3 != /var/log/cloud-init-output.log ]] || echo "as cloud-init has it"')
    (vm.root / "script.sh").write_text(render(startup(experiment)))

    subprocess.run(
        ["bash", "script.sh"], cwd=vm.root, env=vm.environment(), stdout=subprocess.PIPE, timeout=60
    )

    assert log_of(benchmark_database, experiment) == "as cloud-init has it\n"


@pytest.mark.long
def test_a_log_that_cannot_be_stored_is_one_log_line(vm, benchmark_database, startup):
    """The outcome is recorded all the same."""
    experiment = benchmark_database.experiment("print('at work')")
    vm.run(startup(experiment))
    before = vm.log.count("\n")
    place = benchmark_database.uri.split("@")[1]
    benchmark_database.sql(
        "CREATE ROLE guest LOGIN PASSWORD 'guest';"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest;"
        " REVOKE UPDATE ON powerlift_fleet_runner FROM guest"
    )
    [(columns,)] = benchmark_database.sql(
        "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE NOT attisdropped AND attnum > 0"
        " AND attrelid = 'powerlift_fleet_runner'::regclass AND attname <> 'log'"
    )
    benchmark_database.sql(f"GRANT UPDATE ({columns}) ON powerlift_fleet_runner TO guest")

    vm.run(startup(experiment, uri=f"postgresql://guest:guest@{place}"))

    outcome = benchmark_database.runner(experiment)["outcome"]
    assert (outcome, vm.log.count("\n") - before) == ("no more work", 1), vm.log


def test_the_password_is_not_in_the_log(vm, benchmark_database, startup):
    benchmark_database.sql("CREATE ROLE quiet SUPERUSER LOGIN PASSWORD 'hidden-treasure'")
    place = benchmark_database.uri.split("@")[1]
    experiment = benchmark_database.experiment("raise SystemExit(3)", trials=1)

    vm.run(startup(experiment, uri=f"postgresql://quiet:hidden-treasure@{place}"))

    log = log_of(benchmark_database, experiment)
    assert ("hidden-treasure" in log, "without finishing a trial" in log) == (False, True), vm.log
