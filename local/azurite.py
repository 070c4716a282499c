"""Azurite's queue service: Azure Storage queues on this machine, from Microsoft's own emulator."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from local.functions.settings import development_storage
from local.node import find_node, npm_install
from local.process import ServiceError

VERSION = "3.35.0"
_MAIN = Path("node_modules/azurite/dist/src/queue/main.js")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Azurite:
    """The queue service on a free port of 127.0.0.1. Messages are kept in `state_dir`.

    npm installs the program into `cache_dir` on the first start (some 190 MB, half a minute); later
    starts, and other users of that folder, find it there.
    """

    def __init__(self, state_dir: Path, cache_dir: Path) -> None:
        self._state_dir, self._cache_dir = state_dir.resolve(), cache_dir.resolve()
        self._log = self._state_dir / "azurite.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    @property
    def connection_string(self) -> str:
        """For AzureWebJobsStorage and any storage SDK; to be asked for after `start`."""
        return development_storage(self._port)

    def start(self, timeout: float = 300.0) -> None:
        """Install if need be, start, and wait until the port answers, all in `timeout` seconds.

        Raises ServiceError when there is no Node.js, or npm or Azurite fails, or time is up.
        """
        self._stopping.clear()
        deadline = time.monotonic() + timeout
        data = self._state_dir / "data"
        data.mkdir(parents=True, exist_ok=True)
        node, _ = find_node()
        home = self._install(deadline)
        self._port = _free_port()
        self._run(
            [
                node, str(home / _MAIN), "--silent", "--disableTelemetry",
                "--skipApiVersionCheck",  # the SDKs send versions that Azurite does not know yet
                "--queueHost", "127.0.0.1", "--queuePort", str(self._port),
                "--location", str(data),
            ]
        )  # fmt: skip
        self._wait(self._answers, deadline)

    def stop(self, timeout: float = 10.0) -> None:
        """End the service, or its start in another thread. Harmless when nothing runs."""
        self._stopping.set()
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _install(self, deadline: float) -> Path:
        """The folder that holds Azurite. A half installed one never gets that folder's name."""
        home = self._cache_dir / "azurite" / VERSION
        home.parent.mkdir(parents=True, exist_ok=True)
        with _lock(home.parent / "lock", deadline, self._stopping):
            if not (home / _MAIN).exists():
                draft = home.with_name(f"{VERSION}.part")
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                # No package of it needs an install script to serve queues.
                self._run(npm_install(self._cache_dir, draft, f"azurite@{VERSION}"))
                self._wait(lambda: self._ended_well("npm install"), deadline)
                draft.replace(home)
        return home

    def _run(self, argv: Sequence[str]) -> None:
        if self._stopping.is_set():
            raise ServiceError("azurite was stopped while it started.")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip

    def _wait(self, ready: Callable[[], bool], deadline: float) -> None:
        while not ready():
            if self._stopping.is_set():
                self.stop()
                raise ServiceError("azurite was stopped while it started.")
            if time.monotonic() > deadline:
                self.stop()
                raise ServiceError(f"azurite was not ready in time.{self._tail()}")
            time.sleep(0.05)

    def _ended_well(self, what: str) -> bool:
        code = self._process.poll() if self._process else None
        if code:
            raise ServiceError(f"{what} ended with {code}.{self._tail()}")
        return code == 0

    def _answers(self) -> bool:
        if self._ended_well("azurite"):
            raise ServiceError(f"azurite ended at once.{self._tail()}")
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    def _tail(self, lines: int = 15) -> str:
        text = self._log.read_text(errors="replace").splitlines()[-lines:]
        return f" The end of {self._log}:\n  " + "\n  ".join(text)


@contextlib.contextmanager
def _lock(path: Path, deadline: float, stopping: threading.Event) -> Iterator[None]:
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline or stopping.is_set():
                    raise ServiceError(f"another process kept {path} for too long.") from None
                time.sleep(0.1)
        yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
