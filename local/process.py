"""Starting and ending the stand-ins: a child process that says when it is ready."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec another thread's lock on the loader would block for ever.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ServiceError(RuntimeError):
    """A stand-in did not start, or died; the message holds the end of its log."""


class Service:
    """A child process that writes `ready` (JSON) once it serves, and ends on SIGTERM.

    The child has a session of its own, so that Ctrl-C in a terminal reaches only the parent, which
    then stops its children in order. On Linux it is also told to end when the parent dies; the
    kernel means the *thread* that started it, which must therefore live as long.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        ready: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name, self.argv, self.ready, self.log = name, list(argv), ready, log
        self.env = dict(os.environ if env is None else env)
        self.cwd = cwd
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30.0) -> dict[str, Any]:
        """Start the child and return what it wrote to `ready`.

        Raises ServiceError when it ends first, or is not ready after `timeout` seconds.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, env=self.env, cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip
        deadline = time.monotonic() + timeout
        while not self.ready.exists():
            if self.process.poll() is not None:
                raise ServiceError(
                    f"{self.name} ended with {self.process.returncode}.{self._tail()}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise ServiceError(f"{self.name} was not ready after {timeout} s.{self._tail()}")
            time.sleep(0.02)
        return dict(json.loads(self.ready.read_text()))

    def stop(self, timeout: float = 15.0) -> int | None:
        """Ask the child to end, and end it after `timeout` seconds. Returns its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        self.ready.unlink(missing_ok=True)
        return self.process.returncode

    def kill(self) -> None:
        """End the child and its process group at once, as `kill -9` does."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return (
            f" The end of {self.log}:\n  " + "\n  ".join(text) if text else f" {self.log} is empty."
        )


def announce(ready: Path, content: Mapping[str, Any]) -> None:
    """Write `ready` in one step: a reader never sees half of it. Owner-only, as it may hold keys."""
    ready.parent.mkdir(parents=True, exist_ok=True)
    draft = ready.with_suffix(".tmp")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(dict(content), indent=2))
    draft.replace(ready)


def _end_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
