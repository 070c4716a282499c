from __future__ import annotations

import fcntl
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from local.demo.run import faults
from tests.trials import packages_at_hand

DONE = {"phase": "done", "failures": []}
NOTHING: dict[str, set[str]] = {"VMs": set(), "disks": set()}


@pytest.mark.parametrize(
    "trigger",
    [
        pytest.param("http", marks=pytest.mark.slow),
        pytest.param("queue", marks=pytest.mark.long),
    ],
)
def test_a_run_completes_every_trial_and_leaves_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, trigger: str
) -> None:
    with packages_at_hand(tmp_path_factory.mktemp("packages"), "scikit-learn"):
        done = subprocess.run(
            command(tmp_path, "--vms", "2", "--trials", "4", "--trigger", trigger),
            capture_output=True,
            text=True,
            timeout=240,
        )

    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "Trials complete: 4/4" in told
    assert "Left in Azure: 0 VMs, 0 NICs, 0 disks, 0 role assignments" in told
    assert "Processes left: 0" in told
    assert list(tmp_path.iterdir()) == [], "the state of a run that went well is removed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        # Before the imports, in the midst of them, while the stack starts, with VMs at work.
        ("run", " argparse\n"),
        ("run", "Starting"),
        pytest.param("start", "Starting", marks=pytest.mark.long),
        ("run", " local.demo.start\n"),
        pytest.param("run", "Stack is up", marks=pytest.mark.long),
        ("run", " run  "),
    ],
)
def test_ctrl_c_leaves_no_process(tmp_path: Path, asked: str, said: str) -> None:
    options = ("--vms", "2", "--trials", "4") if asked == "run" else ()
    with demo(tmp_path, asked, *options) as child:
        read_until(child, said)
        family = psutil.Process(child.pid).children(recursive=True)

        child.send_signal(signal.SIGINT)
        status = child.wait(60)
        left = psutil.wait_procs(family, timeout=5)[1]
        told = child.stdout.read() if child.stdout and not left else ""

    assert (status, left) == (130, [])
    assert "KeyboardInterrupt" not in told


@pytest.mark.slow
def test_start_tells_how_to_talk_to_the_app_and_ends_on_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_PRICES", "of the caller")  # the one setting that passes
    monkeypatch.setenv("FLEET_SEALING_KEY", "of the caller")
    with demo(tmp_path, "start") as stack:
        told = read_until(stack, "Ctrl-C ends it.")
        app = re.search(r"app +(http://127\.0\.0\.1:\d+)", told)
        assert app is not None
        health = httpx.get(f"{app[1]}/api/health", trust_env=False)

        stack.terminate()
        status = stack.wait(60)

    refused = {name for name in ("PRICES", "SEALING_KEY") if f"FLEET_{name}" in health.text}
    assert (status, refused) == (130, {"PRICES"})


def test_a_second_start_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        refused = subprocess.run(
            [sys.executable, "-m", "local.demo", "start", "--state", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert (refused.returncode, "another stack runs" in refused.stderr) == (1, True)


def test_an_experiment_without_a_stack_is_refused(tmp_path: Path) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "local.demo", "experiment", "--state", str(tmp_path)],
        capture_output=True,
        text=True,
    )

    assert (refused.returncode, "make start" in refused.stderr) == (1, True)


def test_a_run_that_went_well_has_no_faults() -> None:
    assert faults(DONE, incomplete=0, errors=[], left=NOTHING) == []


def test_a_fleet_that_failed_is_a_fault_with_its_causes() -> None:
    failed = {"phase": "failed", "failures": [{"code": "Quota", "message": "no vCPUs"}]}

    assert faults(failed, 0, [], NOTHING) == ["the fleet ended failed: Quota: no vCPUs"]


def test_an_incomplete_trial_is_a_fault_with_its_error() -> None:
    assert faults(DONE, 1, ["ValueError: x"], NOTHING) == [
        "1 trials are not complete: ValueError: x"
    ]


def test_what_is_left_in_azure_is_a_fault() -> None:
    assert faults(DONE, 0, [], {"VMs": {"/vm/1"}}) == ["left in Azure: /vm/1"]


def command(state: Path, *options: str) -> list[str]:
    run = [sys.executable, "-m", "local.demo", "run", "--state", str(state)]
    return [*run, "--time-scale", "0.02", *options]


@contextmanager
def demo(state: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a child with a session of its own, as a terminal would start it.

    It tells its imports too, by a line that ends with a module's name once that is complete.
    """
    python = [sys.executable, "-u", "-X", "importtime"]
    child = subprocess.Popen(
        [*python, "-m", "local.demo", *arguments, "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait(60)
        assert child.stdout is not None
        child.stdout.close()


def read_until(child: subprocess.Popen[str], text: str) -> str:
    """What the child says up to a line that holds `text`. Fails when it ends before, or at 90 s."""
    watch = threading.Timer(90, child.terminate)
    watch.start()
    told = ""
    assert child.stdout is not None
    for line in child.stdout:
        told += line
        if text in line:
            watch.cancel()
            return told
    watch.cancel()
    raise AssertionError(f"{text!r} was never said:\n{told}")
