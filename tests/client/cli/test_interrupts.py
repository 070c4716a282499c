"""Ctrl-C before a fleet has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from powerlift_fleet import FleetClient, storage_queue
from powerlift_fleet.cli.session import _interrupts_deferred

from tests.client.cli.conftest import Command

CTRL_C = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


def interrupt(*args: Any, **more: Any) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("ignores", [False, True])
def test_ctrl_c_during_the_imports_is_quiet(tmp_path: Path, ignores: bool):
    """In background jobs of a shell, programs ignore it."""
    (tmp_path / "click.py").write_text(f"{CTRL_C}raise SystemExit(7)\n")
    done = subprocess.run(
        [sys.executable, "-m", "powerlift_fleet.cli", "list"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), *sys.path))},
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_IGN if ignores else signal.SIG_DFL
        ),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (7 if ignores else 130, "")


def swallow_ctrl_c(imported: list[str]):
    with _interrupts_deferred():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        imported.append("all")


def test_no_import_swallows_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    imported: list[str] = []
    try:
        with pytest.raises(KeyboardInterrupt):
            swallow_ctrl_c(imported)
        assert (imported, signal.getsignal(signal.SIGINT)) == (["all"], signal.default_int_handler)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("call", "argv"),
    [
        ("plan", ("submit", "--experiment", 1, "--vms", 2)),
        ("request_of", ("clone", "fleet-7")),
        ("plan", ("clone", "fleet-7")),
        ("status", ("retry", "fleet-7")),
    ],
)
def test_ctrl_c_before_a_fleet_is_submitted_says_that_none_was_started(
    friendly: Command, monkeypatch: pytest.MonkeyPatch, call: str, argv: tuple[object, ...]
):
    monkeypatch.setattr(FleetClient, call, interrupt)
    done = friendly(*argv)
    assert done.exit_code == 130
    assert done.stderr.endswith("Interrupted. Nothing was started.\n")


@pytest.mark.parametrize("by_queue", [False, True])
def test_ctrl_c_while_a_fleet_is_submitted_says_how_to_repeat_it(
    friendly: Command, monkeypatch: pytest.MonkeyPatch, by_queue: bool
):
    monkeypatch.setattr(FleetClient, "submit", interrupt)
    monkeypatch.setattr(storage_queue, "submit_by_queue", interrupt)
    option = "--by-queue" if by_queue else "--no-plan"
    argv = ("submit", "--experiment", 1, "--vms", 2, "--batch-id", 5, option)
    done = friendly(*argv, FLEET_QUEUE_URL="https://a.queue.core.windows.net/q?sig=s")
    said = "The fleet may have started. It is safe to retry with --batch-id 5.\n"
    assert (done.exit_code, done.stderr.endswith(said)) == (130, True), done.stderr
