"""Fixtures that start hosts as processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.process import Service

APPS = Path(__file__).parent / "apps"
ROOT = Path(__file__).parents[3]


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Host:
    """A hosted app that can be started, called over HTTP, killed and restarted.

    Hosts with different names may share a folder. `options` are command-line options.
    """

    def __init__(
        self,
        app: Path,
        folder: Path,
        env: dict[str, str] | None = None,
        *,
        name: str = "",
        options: Sequence[str] = (),
    ) -> None:
        self.state, self.journals = folder / "state", folder / "journals"
        self.journals.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"log{name}"
        self.service = Service(
            "functions",
            [
                sys.executable, "-m", "local.functions", "--state", str(self.state),
                "--host-root", str(app), "--port", "0", "--name", name, *options,
            ],
            ready=self.state / (f"ready-{name}.json" if name else "ready.json"),
            log=self.log,
            env={
                **os.environ, "JOURNAL": str(self.journals), "FUNCTION_TIMEOUT": "00:00:02",
                **(env or {}),
            },
            cwd=ROOT,
        )  # fmt: skip
        self.url = ""
        self.keys: dict[str, str] = {}
        self._left_open: list[socket.socket] = []

    def start(self) -> Host:
        ready = self.service.start(30)
        self.url, self.keys = ready["url"], ready["keys"]
        return self

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Send a request. `path` may be a URL. `body` is sent as JSON, bytes as they are."""
        url = path if path.startswith("http") else self.url + path
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Response(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, dict(error.headers), error.read())

    def call_and_leave(self, path: str) -> None:
        """Send a GET request without waiting for the response."""
        host, port = self.url.removeprefix("http://").split(":")
        connection = socket.create_connection((host, int(port)), timeout=5)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        self._left_open.append(connection)

    def client(self, verb: str, **arguments: Any) -> Any:
        """What the durable client's method `verb` returns inside the app."""
        answer = self.call("POST", f"/client/{verb}", arguments)
        assert answer.status == 200, answer.body.decode()
        return answer.json

    def start_new(self, name: str, instance_id: str | None = None, input: Any = None) -> str:
        arguments = {"orchestration_function_name": name, "client_input": input}
        return str(self.client("start_new", instance_id=instance_id, **arguments))

    def status(self, instance_id: str, **options: Any) -> dict[str, Any]:
        """The instance's status; empty if it does not exist."""
        return dict(self.client("get_status", instance_id=instance_id, **options) or {})

    def finished(self, instance_id: str, timeout: float = 15.0) -> dict[str, Any]:
        """The status of an instance once it has finished."""
        running = ("Pending", "Running", "Suspended")
        status: dict[str, Any] = self.until(
            lambda: self.status(instance_id),
            lambda seen: seen["runtimeStatus"] not in running,
            timeout,
        )
        return status

    def run(self, name: str, input: Any = None, timeout: float = 15.0) -> dict[str, Any]:
        return self.finished(self.start_new(name, input=input), timeout)

    def until(
        self, get: Callable[[], Any], condition: Callable[[Any], bool], timeout: float = 10.0
    ) -> Any:
        """The first result of `get` that meets `condition`. Fails after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition(seen := get()):
            assert time.monotonic() < deadline, f"after {timeout} s still: {seen}"
            time.sleep(0.02)
        return seen

    def journal(self, name: str) -> list[str]:
        """The first word of every line in the journal `name`, which activities write."""
        path = self.journals / name
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def entries(self, name: str) -> list[tuple[str, float, int]]:
        """A journal of the durable app: (name, time, process id) of each call."""
        lines = map(str.split, (self.journals / name).read_text().splitlines())
        return [(what, float(moment), int(pid)) for what, moment, pid in lines]


def variant(folder: Path, **settings: Any) -> Path:
    """Copy the durable app to `folder`, with other extension settings."""
    shutil.copytree(APPS / "durable", folder)
    content = json.loads((folder / "host.json").read_text())
    content["extensions"]["durableTask"] |= settings
    (folder / "host.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The durable app, shared by all tests that do not stop its host."""
    host = Host(APPS / "durable", tmp_path_factory.mktemp("durable")).start()
    yield host
    host.service.stop()


@pytest.fixture
def durable_alone(tmp_path: Path) -> Iterator[Host]:
    """The durable app on a separate host, with a visibility timeout of one second."""
    host = Host(APPS / "durable", tmp_path, options=["--visibility-timeout", "1"]).start()
    yield host
    host.service.stop()


@pytest.fixture(scope="session")
def make_host(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A context manager that hosts `apps/{name}` with additional environment variables."""

    @contextlib.contextmanager
    def make(
        name: str, *, start: bool = True, options: Sequence[str] = (), **env: str
    ) -> Iterator[Host]:
        host = Host(APPS / name, tmp_path_factory.mktemp(name), env, options=options)
        try:
            yield host.start() if start else host
        finally:
            host.service.stop()

    return make
