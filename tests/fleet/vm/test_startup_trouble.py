"""startup.sh with failures around it: database, console, package index, fleet."""

from __future__ import annotations

import base64
import ensurepip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from powerlift_fleet import runner_script

from fleet.vm import agent
from fleet.vm.render import render
from tests.fleet.vm.gate import gate
from tests.fleet.vm.packages import PACKAGES, installed, make_index, make_wheel
from tests.test_locks import VMS, pins

WAITS = """
import os, pathlib, time
pathlib.Path(os.environ["ROOT"], "up").touch()
while not pathlib.Path(os.environ["ROOT"], "go").exists():
    time.sleep(0.02)
"""
DONE = "raise SystemExit(0)"


def uri_via(port: int, uri: str) -> str:
    """The database URI with another port."""
    return uri.replace(f":{urlsplit(uri).port}/", f":{port}/")


def port_of(database) -> int:
    return int(urlsplit(database.uri).port or 0)


# The database


@pytest.mark.long
def test_an_eviction_notice_does_not_wait_for_an_unresponsive_database(
    vm, benchmark_database, startup
):
    experiment = benchmark_database.experiment(WAITS, trials=1)
    with gate(port_of(benchmark_database)) as way:
        vm.start(startup(experiment, uri=uri_via(way.port, benchmark_database.uri)))
        vm.until(lambda: (vm.root / "up").exists())
        way.stall()
        vm.announce()
        began = time.monotonic()
        vm.wait()

    logged = "the fleet will requeue it" in vm.log
    done = (len(vm.azure.deletes), len(vm.azure.approved), time.monotonic() - began < 30)
    assert (logged, done) == (True, (1, 1, True)), vm.log


@pytest.mark.long
def test_a_database_outage_of_20_seconds_at_the_start_delays_the_vm_no_longer(
    vm, benchmark_database, startup
):
    experiment = benchmark_database.experiment(runner_script(), trials=1)
    with gate(port_of(benchmark_database), shut=True) as way:
        threading.Timer(20, way.open).start()
        began = time.monotonic()
        code = vm.run(startup(experiment, uri=uri_via(way.port, benchmark_database.uri)), 90)
        took = time.monotonic() - began

    [trial] = benchmark_database.trials(experiment)
    assert (code, trial["runner_id"], len(vm.azure.deletes)) == (0, -2, 1), vm.log
    assert 20 < took < 60, vm.log


# Azure


@pytest.mark.parametrize("kind", ["Preempt", "Terminate", "Redeploy", "Reboot"])
def test_only_events_that_end_this_vm_are_handled(vm, kind):
    mine, other = "powerlift-vm-1-0007", "powerlift-vm-1-0008"
    for event, machine in (("Freeze", mine), ("Preempt", other), (kind, mine)):
        vm.announce(event, machine)
        vm.azure.events[-1]["EventId"] = f"{event} of {machine}"

    watch = [sys.executable, "-I", agent.__file__, "wait_for_event", mine]
    watched = subprocess.run(
        watch, env=vm.environment(), capture_output=True, timeout=60, check=True
    )

    assert watched.stdout.decode() == f"{kind} of {mine} {kind}\n"


# The way cloud-init runs it


@pytest.mark.long
def test_the_script_does_not_require_home(vm, benchmark_database, startup):
    environment = vm.environment()
    del environment["HOME"]
    file = vm.root / "script.sh"
    file.write_text(render(startup(benchmark_database.experiment(DONE))))

    ran = subprocess.run(["bash", file], cwd="/", env=environment, capture_output=True, timeout=60)

    assert (ran.returncode, len(vm.azure.deletes)) == (0, 1), ran.stdout


OVF = (
    '<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1" xmlns:wa="http://schemas.microsoft.com/w'
    'indowsazure"><wa:LinuxProvisioningConfigurationSet><wa:HostName>vm</wa:HostName>'
    "<wa:CustomData>{}</wa:CustomData></wa:LinuxProvisioningConfigurationSet></Environment>"
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("login", "required"),
    [("u:p@db.example.com", "scram-sha-256"), ("u@db.example.com", "password"), ("u:p@[::1]", "")],
)
def test_psql_accepts_only_safe_password_authentication(other_vm, startup, login, required):
    other_vm.program("psql", 'echo "${PGREQUIREAUTH:-}" >"$ROOT/required"; exit 1')
    other_vm.env |= {"POWERLIFT_DATABASE_TIMEOUT": "0", "POWERLIFT_DELETE_TIMEOUT": "0"}
    other_vm.run(startup(1, uri=f"postgresql://{login}/d"))
    assert (other_vm.root / "required").read_text().strip() == required


def test_custom_data_is_removed_from_the_disk_before_a_trial_runs(vm, benchmark_database, startup):
    """Files as cloud-init 22.4 and the Azure agent write them; the experiment's script looks at them."""
    disk = vm.root / "disk"
    instance, agent_files = disk / "var/lib/cloud/instances/an-id", disk / "var/lib/waagent"
    look = "import os\nos.system('cp -r $ROOT/disk $ROOT/seen')"
    script = render(startup(benchmark_database.experiment(look)))
    encoded = base64.b64encode(script.encode()).decode()
    files = {
        instance / "scripts/part-001": script,
        instance / "user-data.txt": script,
        instance / "user-data.txt.i": f"Content-Transfer-Encoding: base64\n\n{encoded}",
        instance / "obj.pkl": script,
        instance / "datasource": "DataSourceAzure",
        disk / "run/cloud-init/instance-data-sensitive.json": json.dumps(script),
        agent_files / "CustomData": encoded,
        agent_files / "ovf-env.xml": OVF.format(encoded),
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (disk / "var/lib/cloud/instance").symlink_to("instances/an-id")

    run = ["bash", disk / "var/lib/cloud/instance/scripts/part-001"]
    ran = subprocess.run(run, env=vm.environment(), capture_output=True, timeout=60)

    seen = [file for file in (vm.root / "seen").rglob("*") if file.is_file()]
    wanted = {"datasource": "DataSourceAzure", "ovf-env.xml": OVF.format("")}
    assert {file.name: file.read_text() for file in seen} == wanted, ran.stdout


def test_a_kept_vm_has_no_password_on_disk(vm, benchmark_database, startup):
    vm.run(startup(benchmark_database.experiment(DONE), delete_on_complete=False))

    assert not ({"db_url", "pgpass"} & set(os.listdir(vm.home))), vm.log


@pytest.mark.long
def test_a_closed_console_does_not_end_the_script(vm, benchmark_database, startup):
    """cloud-init's is a pipe to `tee`, which a shutdown may end first."""
    experiment = benchmark_database.experiment(WAITS, trials=1)
    file = vm.root / "script.sh"
    file.write_text(render(startup(experiment)))
    vm.process = subprocess.Popen(
        ["bash", file], cwd="/", env=vm.environment(), start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    vm.until(lambda: (vm.root / "up").exists())

    vm.process.stdout.close()
    vm.process.send_signal(signal.SIGTERM)
    vm.wait()

    [trial] = benchmark_database.trials(experiment)
    outcome = benchmark_database.runner(experiment)["outcome"]
    ended = (trial["runner_id"], outcome, len(vm.azure.deletes))
    assert ended == (-1, "stopped by a signal", 1)


# Installing


@pytest.mark.long
def test_pip_installs_if_uv_is_unavailable(vm, benchmark_database, startup, tmp_path):
    (vm.root / "bin" / "uv").unlink()
    versions = {name: pins(VMS)[name.replace("_", "-")] for name in PACKAGES} | {"psycopg": "1"}
    for name, version in versions.items():
        make_wheel(tmp_path, name, version)
    make_wheel(tmp_path, "powerlift", "99")  # newer than the pin
    make_wheel(tmp_path, "uv", pins(VMS)["uv"])  # not the file that the lock knows
    vm.without_packages = True
    python = Path(getattr(sys, "_base_executable", sys.executable))
    [pip] = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    vm.program(  # because installing pip itself takes long
        "python3",
        f"""[[ "$*" == "-m venv --clear venv" ]] || exec {python} "$@"
        {python} "$@" --without-pip && echo {pip} >"$(echo venv/lib/python3*/site-packages)/pip.pth"
        """,
    )
    vm.env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}

    code = vm.run(startup(benchmark_database.experiment(DONE, pip_install='"psycopg<2"')))

    wanted = {f"{name}-{version}" for name, version in versions.items()}
    found = installed(vm)
    assert (code, wanted <= found, {one for one in found if one.startswith("uv-")}) == (
        0,
        True,
        set(),
    ), vm.log


@pytest.fixture
def private_index(vm, tmp_path) -> str:
    """The URI of an index with version 1 of `common`; the VM's public index has version 2.

    The VM has a real uv.
    """
    make_index(tmp_path / "private", "common", "1")
    for name in (*PACKAGES, "common"):
        make_index(tmp_path / "public", name, "2")
    (vm.root / "bin" / "uv").unlink()
    (vm.root / "bin" / "uv").symlink_to(Path(sys.executable).with_name("uv"))
    vm.env["UV_DEFAULT_INDEX"] = (tmp_path / "public").as_uri()
    return (tmp_path / "private").as_uri()


@pytest.mark.long
@pytest.mark.parametrize("is_of_the_image", [pytest.param(True, marks=pytest.mark.long), False])
def test_a_public_package_does_not_replace_one_of_a_private_index(
    vm, benchmark_database, startup, private_index, is_of_the_image
):
    """An attacker who uploads a high version of `common` to the public index runs no code on the VMs."""
    words = ["common", *PACKAGES]
    if is_of_the_image:
        vm.env["UV_INDEX"] = private_index
    else:
        words += ["--extra-index-url", private_index]

    vm.run(startup(benchmark_database.experiment(DONE, pip_install=" ".join(words))))

    assert "common-1" in installed(vm), vm.log


@pytest.mark.long
def test_an_additional_index_may_lack_versions(vm, benchmark_database, startup, private_index):
    """PyTorch's index has some versions of setuptools, but not the pinned one."""
    words = " ".join(["common>1", *PACKAGES, f"--index={private_index}"])

    vm.run(startup(benchmark_database.experiment(DONE, pip_install=words)))

    assert "common-2" in installed(vm), vm.log


# What the VM reports


@pytest.fixture
def heartbeats(vm, benchmark_database, startup):
    """The experiment of a working VM that sends frequent heartbeats."""
    vm.env["POWERLIFT_HEARTBEAT_INTERVAL"] = "0.1"
    experiment = benchmark_database.experiment(WAITS, trials=1)
    vm.start(startup(experiment))
    vm.until(lambda: (vm.root / "up").exists())
    return experiment


def seen(database, experiment) -> str:
    return str(database.runner(experiment)["seen_at"])


@pytest.mark.long
def test_heartbeats_are_sent_while_trials_run(vm, benchmark_database, heartbeats):
    before = seen(benchmark_database, heartbeats)
    vm.until(lambda: seen(benchmark_database, heartbeats) > before)


@pytest.mark.long
def test_heartbeats_stop_once_the_script_is_killed(vm, benchmark_database, heartbeats):
    os.kill(vm.process.pid, signal.SIGKILL)
    vm.wait()

    silence = "SELECT now() - seen_at > '2 s' FROM powerlift_fleet_runner WHERE experiment_id = %s"
    vm.until(lambda: benchmark_database.sql(silence, heartbeats) == [(True,)])


# Trials that their script does not end

HOLDS = """
import os, psycopg2, sys, time
database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
database.autocommit = True
cursor = database.cursor()
mine = [os.environ["EXPERIMENT_ID"], os.environ["RUNNER_ID"]]
cursor.execute("SELECT replicate_num FROM trial WHERE experiment_id = %s AND runner_id = %s", mine)
[found] = cursor.fetchall() or [None]
if found is None:
    sys.exit(0)
message = "good" if found[0] else "bad\\0"
while True:
    try:
        cursor.execute("UPDATE trial SET runner_id = -2, end_time = now(), errmsg = %s"
                       " WHERE experiment_id = %s AND runner_id = %s", [message, *mine])
        sys.exit(1)
    except ValueError:
        time.sleep(0.1)
"""
"""As Powerlift's own, it does one trial, and repeats a write that cannot succeed."""


@pytest.mark.long
def test_a_trial_that_its_script_does_not_end_is_ended_by_the_vm(vm, benchmark_database, startup):
    vm.env |= {"POWERLIFT_HEARTBEAT_INTERVAL": "0.05", "POWERLIFT_OVERDUE_AFTER": "1"}
    experiment = benchmark_database.experiment(HOLDS, trials=2)

    code = vm.run(startup(experiment, timeout=0.5))

    overdue, next_one = (trial["errmsg"] for trial in benchmark_database.trials(experiment))
    assert (code, next_one) == (0, "good"), vm.log
    assert overdue == (
        "Timeout failure: the experiment's script did not end this trial at its timeout of 0.5 s. "
        "The VM stopped the script 1 s after the trial's start."
    )
