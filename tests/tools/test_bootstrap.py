"""The set-up of the development environment, with a small lock: uv, and the client's build tools."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.stack import CACHE, REPOSITORY

LOCKED = {"uv", "hatchling", "editables", "packaging", "pathspec", "pluggy", "trove-classifiers"}


def lock(*packages: str) -> str:
    """Entries of the project's own lock."""
    text = (REPOSITORY / "requirements-dev.txt").read_text()
    entries = dict(re.findall(r"^([\w.-]+)(==.*\n(?: .*\n)+)", text, re.MULTILINE))
    return "".join(name + entries[name] for name in packages)


def start(repository: Path) -> subprocess.Popen[str]:
    argv = ["sh", "tools/bootstrap.sh", sys.executable, ".venv", ".venv/.complete"]
    return subprocess.Popen(
        argv, cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def set_up(repository: Path) -> None:
    process = start(repository)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def imports(repository: Path, name: str) -> bool:
    python = repository / ".venv" / "bin" / "python"
    return subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("with space")
    (root / "tools").mkdir()
    for name in ("tools/bootstrap.py", "tools/bootstrap.sh"):
        (root / name).write_text((REPOSITORY / name).read_text())
    (root / "client").symlink_to(REPOSITORY / "client")
    (root / ".local").mkdir()
    (root / ".local" / "cache").symlink_to(CACHE)
    (root / "requirements-dev.txt").write_text(lock(*LOCKED))
    return root


@pytest.mark.long
def test_ctrl_c_prints_no_traceback(repository: Path) -> None:
    process = start(repository)
    deadline = time.monotonic() + 60
    while not (repository / ".venv" / "bin" / "pip").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors


def installs(pid: int) -> bool:
    """Whether a child of the process installs packages."""
    with contextlib.suppress(psutil.Error):
        return any("ensurepip" in one.cmdline() for one in psutil.Process(pid).children())
    return False


@pytest.mark.long
def test_a_killed_set_up_keeps_the_next_one_waiting_until_its_children_end(
    repository: Path,
) -> None:
    (repository / ".venv" / ".complete").unlink(missing_ok=True)
    process = start(repository)
    deadline = time.monotonic() + 60
    while not installs(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    with (repository / ".local" / "venv.lock").open("w") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    set_up(repository)
    assert imports(repository, "powerlift_fleet")


@pytest.fixture(scope="module")
def complete(repository: Path) -> Path:
    """The repository with its environment."""
    set_up(repository)
    return repository


@pytest.mark.long
def test_an_environment_without_its_stamp_is_recreated(complete: Path) -> None:
    repository = complete
    (repository / ".venv" / ".complete").unlink()
    (repository / ".venv" / "bin" / "uv").chmod(0o644)  # the state after an interrupted pip
    set_up(repository)
    assert imports(repository, "powerlift_fleet")


@pytest.mark.long
def test_a_changed_lock_updates_the_environment(complete: Path) -> None:
    repository = complete
    time.sleep(0.01)  # the stamp's modification time is compared
    (repository / "requirements-dev.txt").write_text(lock(*LOCKED, "click"))
    set_up(repository)
    assert imports(repository, "click")
    (repository / "requirements-dev.txt").write_text(lock(*LOCKED))
    set_up(repository)
    assert not imports(repository, "click")


@pytest.mark.long
def test_a_package_with_another_hash_is_rejected(repository: Path) -> None:
    other = re.sub(r"sha256:\w{64}", "sha256:" + 64 * "0", lock("click"))
    (repository / "requirements-dev.txt").write_text(lock(*LOCKED) + other)
    process = start(repository)
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, "hash" in errors.lower()) == (1, True), errors
    assert not imports(repository, "click")
