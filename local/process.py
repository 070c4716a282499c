"""Starts and stops the stand-ins as child processes."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

_PR_SET_PDEATHSIG = 1
# Loaded before fork: afterwards, another thread's lock on the loader could deadlock.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ServiceError(RuntimeError):
    """A stand-in failed. The message contains the end of its log."""


class Service:
    """A child process that writes the file `ready` (JSON) once it is ready, and exits on SIGTERM."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        ready: Path,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
    ) -> None:
        self.name, self.argv, self.ready, self.log = name, list(argv), ready, log
        self.env, self.cwd = dict(env), cwd
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30.0) -> dict[str, Any]:
        """Start the child and return the content of `ready`.

        Raises ServiceError if it exits or is not ready after `timeout` seconds.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.ready.unlink(missing_ok=True)
        self.process = spawn(self.argv, self.log, env=self.env, cwd=self.cwd)
        deadline = time.monotonic() + timeout
        while not self.ready.exists():
            if self.process.poll() is not None:
                raise ServiceError(
                    f"{self.name} exited with {self.process.returncode}.{log_tail(self.log)}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(
                    f"{self.name} was not ready after {timeout} s.{log_tail(self.log)}"
                )
            time.sleep(0.02)
        return dict(json.loads(self.ready.read_text()))

    @property
    def running(self) -> bool:
        """Whether the child was started and has not exited."""
        return self.process is not None and self.process.poll() is None

    def stop(self, timeout: float = 15.0) -> int | None:
        """Terminate the child; kill it after `timeout` seconds. Returns its exit status."""
        if self.process is None:
            return None
        end(self.process, timeout)
        self.ready.unlink(missing_ok=True)
        return self.process.returncode

    def kill(self) -> None:
        """Kill the child and its process group with SIGKILL."""
        if self.process is not None and self.running:
            _kill_group(self.process)


class StartStop:
    """A context manager: entering calls `start`, exiting calls `stop`."""

    def start(self) -> object:
        raise NotImplementedError

    def stop(self) -> object:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def spawn(
    argv: Sequence[str], log: Path, *, end_signal: int = signal.SIGTERM, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a child whose output is appended to `log`.

    The child has its own session, so that Ctrl-C in a terminal reaches only the parent, which then
    stops its children in order. On Linux the child also gets `end_signal` when the *thread* that started
    it exits.
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            preexec_fn=end_with_parent(end_signal), **options,
        )  # fmt: skip


def end(process: subprocess.Popen[bytes], timeout: float, number: int = signal.SIGTERM) -> None:
    """End a child of `spawn` with a signal; after `timeout` seconds, kill its group. Idempotent."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def announce(ready: Path, content: Mapping[str, Any]) -> None:
    """Write `ready` atomically, readable only by the owner, since it may contain keys."""
    ready.parent.mkdir(parents=True, exist_ok=True)
    partial = ready.with_suffix(".tmp")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(dict(content), indent=2))
    partial.replace(ready)


def recall(file: Path) -> dict[str, Any]:
    """What `announce` wrote to `file`; empty without it, or if its content is not a JSON object."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def end_with_parent(number: int = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn`: on Linux the child gets this signal when the thread that started it exits."""

    def request() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, number)

    return request


def free_port(preferred: int) -> int:
    """`preferred` if it is free, otherwise any free loopback port."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ServiceError("No port of 127.0.0.1 is free.")


def log_tail(log: Path) -> str:
    """The end of a log, for an error message."""
    text = log.read_text(errors="replace").splitlines()[-15:]
    return f" The end of {log}:\n  " + "\n  ".join(text) if text else f" {log} is empty."
