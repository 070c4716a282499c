"""Azurite's queue service, Microsoft's emulator of Azure Storage queues."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from local.functions.settings import DEV_ACCOUNT, DEV_KEY, development_storage
from local.node import find_node, npm_install
from local.process import ServiceError, announce, end, free_port, log_tail, recall, spawn

VERSION = "3.35.0"
_MAIN = Path("node_modules/azurite/dist/src/queue/main.js")
_QUEUES_ACCOUNT = "powerliftqueues"


class Azurite:
    """The queue service on a free port of 127.0.0.1, with two accounts.

    Port, key and messages persist in `state_dir`.

    The first start installs the program into `cache_dir` with npm (190 MB, half a minute). With
    `tls`, paths of a certificate and its key, it serves https and accepts tokens of Entra ID; it does
    not verify their signature, nor any role.
    """

    def __init__(
        self, state_dir: Path, cache_dir: Path, *, tls: tuple[Path, Path] | None = None
    ) -> None:
        self._state_dir, self._cache_dir = state_dir.resolve(), cache_dir.resolve()
        self._tls = tls
        self._settings = self._state_dir / "azurite.json"
        self._log = self._state_dir / "azurite.log"
        self._queues_key, self._port = "", 0
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    @property
    def connection_string(self) -> str:
        """Of devstoreaccount1, for AzureWebJobsStorage and any storage SDK. Valid after `start`."""
        return development_storage(self._port)

    @property
    def queues_connection_string(self) -> str:
        """Of another account, for FLEET_QUEUE_CONNECTION: its key opens nothing else. As above."""
        return development_storage(self._port, _QUEUES_ACCOUNT, self._queues_key)

    @property
    def queues_url(self) -> str:
        """The URL of that account's queues. Valid after `start`."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/{_QUEUES_ACCOUNT}"

    def start(self, timeout: float = 300.0) -> None:
        """Install if necessary, start, and wait until the port responds, within `timeout` seconds.

        Raises ServiceError if Node.js is missing, npm or Azurite fails, or on timeout.
        """
        self._stopping.clear()
        deadline = time.monotonic() + timeout
        data = self._state_dir / "data"
        data.mkdir(parents=True, exist_ok=True)
        node, _ = find_node()
        home = self._install(deadline)
        self._load_settings()
        self._run(
            [
                node, str(home / _MAIN), "--silent", "--disableTelemetry",
                "--skipApiVersionCheck",  # the SDKs send API versions that Azurite does not support yet
                "--queueHost", "127.0.0.1", "--queuePort", str(self._port),
                "--location", str(data),
                *(["--cert", str(self._tls[0]), "--key", str(self._tls[1]), "--oauth", "basic"]
                  if self._tls else []),
            ]
        )  # fmt: skip
        self._wait(self._is_ready, deadline)

    def _load_settings(self) -> None:
        """Load the key and port of the last start, or create them. Replaces a port in use."""
        known = recall(self._settings)
        new_key = base64.b64encode(secrets.token_bytes(64)).decode()
        self._queues_key = known.get("queues_key") or new_key
        self._port = free_port(known.get("port", 0))
        announce(self._settings, {"queues_key": self._queues_key, "port": self._port})

    def stop(self, timeout: float = 10.0) -> None:
        """Stop the service, or abort its start in another thread. Idempotent."""
        self._stopping.set()
        if self._process is not None:
            end(self._process, timeout)

    def _install(self, deadline: float) -> Path:
        """The directory of Azurite. Renamed into place once the installation is complete."""
        home = self._cache_dir / "azurite" / VERSION
        home.parent.mkdir(parents=True, exist_ok=True)
        with _lock(home.parent / "lock", deadline, self._stopping):
            if not (home / _MAIN).exists():
                partial = home.with_name(f"{VERSION}.part")
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                print("Installing Azurite, once. This takes half a minute.", file=sys.stderr)
                # None of its packages needs an install script.
                self._run(npm_install(self._cache_dir, partial, f"azurite@{VERSION}"))
                self._wait(lambda: self._has_succeeded("npm install"), deadline)
                partial.replace(home)
        return home

    def _run(self, argv: Sequence[str]) -> None:
        if self._stopping.is_set():
            raise ServiceError("azurite was stopped while it started.")
        accounts = f"{DEV_ACCOUNT}:{DEV_KEY};{_QUEUES_ACCOUNT}:{self._queues_key}"
        environment = {**os.environ, "AZURITE_ACCOUNTS": accounts}
        self._process = spawn(argv, self._log, env=environment)

    def _wait(self, ready: Callable[[], bool], deadline: float) -> None:
        while not ready():
            if self._stopping.is_set():
                self.stop()
                raise ServiceError("azurite was stopped while it started.")
            if time.monotonic() > deadline:
                self.stop()
                raise ServiceError(f"azurite was not ready in time.{log_tail(self._log)}")
            time.sleep(0.05)

    def _has_succeeded(self, what: str) -> bool:
        code = self._process.poll() if self._process else None
        if code:
            raise ServiceError(f"{what} exited with {code}.{log_tail(self._log)}")
        return code == 0

    def _is_ready(self) -> bool:
        if self._has_succeeded("azurite"):
            raise ServiceError(f"azurite exited immediately.{log_tail(self._log)}")
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _lock(path: Path, deadline: float, stopping: threading.Event) -> Iterator[None]:
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline or stopping.is_set():
                    raise ServiceError(f"timed out waiting for {path}.") from None
                time.sleep(0.1)
        yield
