from __future__ import annotations

import fcntl
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
from powerlift_fleet import progress

from local.demo.run import display, problems
from tests.client.both import fleet_status
from tests.trials import packages_at_hand

DONE = SimpleNamespace(phase="done", failures=())
TERMINAL = ("done", "failed", "cancelled")
NOTHING: dict[str, set[str]] = {"VMs": set(), "disks": set()}


@pytest.mark.parametrize(
    "trigger",
    [pytest.param("http", marks=pytest.mark.slow), pytest.param("queue", marks=pytest.mark.long)],
)
def test_a_run_completes_every_trial_and_leaves_nothing_behind(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, trigger: str
) -> None:
    with packages_at_hand(tmp_path_factory.mktemp("packages"), "scikit-learn"):
        done = subprocess.run(
            command(tmp_path, "--vms", "1", "--trials", "2", "--trigger", trigger),
            capture_output=True,
            text=True,
            timeout=240,
        )

    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "Trials complete: 2/2" in output
    assert "Left in Azure: 0 VMs, 0 NICs, 0 disks, 0 role assignments" in output
    assert "Processes left: 0" in output
    assert list(tmp_path.iterdir()) == [], "the state of a successful run is removed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subcommand", "text"),
    [
        # Before the imports, in the midst of them, while the stack starts, with VMs at work.
        pytest.param("run", " argparse\n", marks=pytest.mark.long),
        ("run", "Starting"),
        pytest.param("start", "Starting", marks=pytest.mark.long),
        pytest.param("run", " local.demo.start\n", marks=pytest.mark.long),
        pytest.param("run", "Stack is up", marks=pytest.mark.long),
        pytest.param("run", " run; ", marks=pytest.mark.long),
    ],
)
def test_ctrl_c_leaves_no_process(tmp_path: Path, subcommand: str, text: str) -> None:
    options = ("--vms", "2", "--trials", "4") if subcommand == "run" else ()
    with demo(tmp_path, subcommand, *options) as child:
        read_until(child, text)
        family = psutil.Process(child.pid).children(recursive=True)

        child.send_signal(signal.SIGINT)
        status = child.wait(60)
        left = psutil.wait_procs(family, timeout=5)[1]
        output = child.stdout.read() if child.stdout and not left else ""

    assert (status, left) == (130, [])
    assert "KeyboardInterrupt" not in output


@pytest.mark.slow
def test_start_prints_instructions_and_stops_on_sigterm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_PRICES", "of the caller")
    monkeypatch.setenv("FLEET_SEALING_KEY", "of the caller")
    with demo(tmp_path, "start") as stack:
        output = read_until(stack, "Press Ctrl-C to stop.")
        app = re.search(r"FLEET_URL=(http://127\.0\.0\.1:\d+) FLEET_KEY=(\S+)", output)
        assert app is not None
        url, headers = f"{app[1]}/api/health/details", {"x-functions-key": app[2]}
        health = httpx.get(url, headers=headers, trust_env=False, timeout=30)

        stack.terminate()
        status = stack.wait(60)

    rejected = {name for name in ("PRICES", "SEALING_KEY") if f"FLEET_{name}" in health.text}
    assert (status, rejected) == (130, {"PRICES"})


@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_the_next_start_has_the_same_addresses_and_continues_fleets(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, end: signal.Signals
) -> None:
    with packages_at_hand(tmp_path_factory.mktemp("packages"), "scikit-learn"):
        with demo(tmp_path, "start") as first:
            before = started(first)
            made = [sys.executable, "-m", "local.demo", "experiment", "--trials", "12"]
            made += ["--state", str(tmp_path)]
            number = int(subprocess.run(made, capture_output=True, check=True).stdout)
            fleet = {"experiment_id": number, "n_instances": 2, "timeout": 300}
            fleet_id = before.api("POST", "/fleets", fleet)["id"]
            before.await_fleet(fleet_id, lambda one: (one["trials"] or {}).get("running"))
            first.send_signal(end)
            first.wait(60)
        with demo(tmp_path, "start") as second:
            after = started(second)
            shown = after.await_fleet(fleet_id, lambda one: one["phase"] in TERMINAL)

    assert after == before
    assert (shown["phase"], shown["trials"]["complete"]) == ("done", 12), shown["failures"]
    assert (tmp_path / "start" / "host" / "keys.json").stat().st_mode & 0o077 == 0


@dataclass(frozen=True)
class Started:
    """The variables that `make start` prints."""

    url: str
    key: str
    db_uri: str

    def api(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"x-functions-key": self.key}
        answer = httpx.request(
            method, f"{self.url}/api{path}", json=body, headers=headers, trust_env=False, timeout=30
        )
        return answer.raise_for_status().json()

    def await_fleet(self, fleet_id: str, condition: Callable[[Any], object]) -> Any:
        """Poll the fleet until the condition holds."""
        deadline = time.monotonic() + 300
        while not condition(shown := self.api("GET", f"/fleets/{fleet_id}")):
            assert time.monotonic() < deadline, shown
            time.sleep(0.5)
        return shown


def started(child: subprocess.Popen[str]) -> Started:
    output = read_until(child, "Press Ctrl-C to stop.")
    found = re.search(r"FLEET_URL=(\S+) FLEET_KEY=(\S+)\n *export POWERLIFT_DB_URI=(\S+)", output)
    assert found is not None, output
    return Started(*found.groups())


@pytest.mark.long
def test_a_second_start_on_the_same_state_is_rejected(tmp_path: Path) -> None:
    with (tmp_path / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("123")
        lock.flush()

        rejected = subprocess.run(
            [sys.executable, "-m", "local.demo", "start", "--state", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert (rejected.returncode, "another stack is using" in rejected.stderr) == (1, True)
    assert "process 123, starting" in rejected.stderr


@pytest.mark.long
def test_an_experiment_without_a_stack_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "stack.json").write_text('{"db_uri": "of a stack that was killed"}')
    rejected = subprocess.run(
        [sys.executable, "-m", "local.demo", "experiment", "--state", str(tmp_path)],
        capture_output=True,
        text=True,
    )

    assert (rejected.returncode, "make start" in rejected.stderr) == (1, True)


def test_progress_within_a_phase_is_shown_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = count(0, 3)  # seconds between two statuses
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with display() as shown:
        for complete in range(8):
            trials = {
                "total": 8,
                "ready": 8 - complete,
                "running": 0,
                "complete": complete,
                "error": 0,
            }
            shown.show(fleet_status("run", trials=trials))

    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_successful_run_has_no_problems() -> None:
    assert problems(DONE, incomplete=0, errors=[], left=NOTHING) == []


def test_a_failed_fleet_is_a_problem_with_its_causes() -> None:
    quota = SimpleNamespace(code="Quota", message="no vCPUs")
    failed = SimpleNamespace(phase="failed", failures=(quota,))

    assert problems(failed, 0, [], NOTHING) == ["the fleet ended in phase failed: Quota: no vCPUs"]


def test_an_incomplete_trial_is_a_problem_with_its_error() -> None:
    assert problems(DONE, 1, ["ValueError: x"], NOTHING) == [
        "1 trials are not complete: ValueError: x"
    ]


def test_a_resource_left_in_azure_is_a_problem() -> None:
    assert problems(DONE, 0, [], {"VMs": {"/vm/1"}}) == ["left in Azure: /vm/1"]


def command(state: Path, *options: str) -> list[str]:
    run = [sys.executable, "-m", "local.demo", "run", "--state", str(state)]
    return [*run, "--time-scale", "0.02", *options]


@contextmanager
def demo(state: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demo as a child process in its own session, as a terminal does.

    Its output includes a line per completed import, which ends with the module's name.
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
    """The child's output up to a line that contains `text`. Fails if it exits first, or after 90 s."""
    watch = threading.Timer(90, child.terminate)
    watch.start()
    output = ""
    assert child.stdout is not None
    for line in child.stdout:
        output += line
        if text in line:
            watch.cancel()
            return output
    watch.cancel()
    raise AssertionError(f"{text!r} is not in the output:\n{output}")
