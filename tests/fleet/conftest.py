"""A database with Powerlift's tables, and a directory that simulates a VM at its first boot."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from fleet.store.schema import BENCHMARK, migrate
from fleet.vm.render import Startup, render
from local.postgres import DATABASE, Postgres
from local.stack import CACHE

_RECORD = r"""printf '%s\x1f' "$@" >>"$ROOT/${0##*/}.calls"; echo >>"$ROOT/${0##*/}.calls" """
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)  # loaded before any fork: another thread may hold the loader's lock
TIMEOUT = 120
"""Seconds for a VM's life: the cores are shared."""
NOTHING = "def trial(trial):\n    pass\n"


RESOLVER = f"""
[[ $2 == compile ]] || exit 0
while [[ $1 != -o ]]; do shift; done
echo "lib==1 --hash=sha256:{"0" * 64}" >"$2"
"""
"""A `uv` that resolves anything to one package, and installs nothing."""


class Benchmark:
    """Powerlift's tables in a real database."""

    def __init__(self, postgres: Postgres, database: str = DATABASE) -> None:
        from powerlift.bench.store import Store

        self.postgres = postgres
        self.uri = postgres.uri(database)
        self.store = Store(self.uri.replace("://", "+psycopg2://", 1))
        self.task = self.sql(
            "INSERT INTO task (name, problem, origin, n_samples, n_features, n_classes,"
            " max_unique_continuous, max_categories, total_categories, percent_categorical,"
            " percent_special_values, meta, x, y)"
            " VALUES ('t', 'binary', 'test', 1, 1, 2, 1, 1, 1, 0, 0, '{}', '', '') RETURNING id"
        )[0][0]
        self.experiments = 0

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        database = psycopg2.connect(self.uri)
        try:
            with database, database.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            database.close()

    def experiment(
        self,
        script: str,
        *,
        trials: int = 0,
        trial_fn: str = NOTHING,
        pip_install: str | None = None,
        shell_install: str | None = None,
        wheels: dict[str, bytes] | None = None,
    ) -> int:
        from powerlift.db import schema

        self.experiments += 1
        rows = [schema.Wheel(name=name, embedded=body) for name, body in (wheels or {}).items()]
        name = f"experiment {self.experiments}"
        experiment = self.store.create_experiment(
            name, "", shell_install, pip_install, script, trial_fn, rows
        )
        new = {"experiment_id": experiment, "task_id": self.task, "method": "m", "meta": {}}
        self.store.create_trials([{**new, "replicate_num": n} for n in range(trials)])
        return int(experiment)

    def runners(self, experiment: int) -> list[dict[str, Any]]:
        """The VMs that ran the experiment, as recorded by themselves."""
        statement = "SELECT row_to_json(r) FROM powerlift_fleet_runner r WHERE experiment_id = %s"
        return [dict(row) for (row,) in self.sql(statement, experiment)]

    def runner(self, experiment: int) -> dict[str, Any]:
        """The only one."""
        [runner] = self.runners(experiment)
        return runner

    def trials(self, experiment: int) -> list[dict[str, Any]]:
        names = ("id", "runner_id", "start_time", "end_time", "errmsg")
        statement = f"SELECT {', '.join(names)} FROM trial WHERE experiment_id = %s ORDER BY id"
        return [dict(zip(names, row, strict=True)) for row in self.sql(statement, experiment)]


@pytest.fixture(scope="session")
def benchmark_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benchmark]:
    """A database with the app's tables too, as fleets create them."""
    with Postgres(tmp_path_factory.mktemp("postgres"), CACHE) as postgres:
        database = Benchmark(postgres)
        migrate(database.uri, BENCHMARK)
        yield database


COMPUTE = {
    "vmSize": "Standard_D2s_v5", "location": "eastus", "zone": "2", "priority": "Spot",
    "publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "24.04.1",
}  # fmt: skip


class Azure:
    """A VM's metadata service and ARM in one HTTP server; only what a VM uses."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        """All but the questions for the metadata of the instance and its events."""
        self.answers: list[int] = []
        """Statuses of the next DELETEs; then 202."""
        self.events: list[dict[str, Any]] = []
        self.approved: list[Any] = []
        self.database_token = ""
        """Of the user-assigned identity."""
        self.answers_event_queries = threading.Event()
        """Until it is set, a question for the events has no answer."""
        self.answers_event_queries.set()
        azure = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/metadata/scheduledevents"):
                    azure.answers_event_queries.wait()
                    self._answer(200, {"DocumentIncarnation": 1, "Events": azure.events})
                elif self.path.startswith("/metadata/instance/compute"):
                    self._answer(200, COMPUTE)
                else:
                    self._record()
                    named = "msi_res_id=" in self.path
                    token = azure.database_token if named else "a-token"
                    self._answer(200, {"access_token": token})

            def do_DELETE(self) -> None:
                self._record()
                self._answer(azure.answers.pop(0) if azure.answers else 202, {})

            def do_POST(self) -> None:
                azure.approved.append(
                    json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                )
                self._answer(200, {})

            def _record(self) -> None:
                azure.requests.append((self.command, self.path, dict(self.headers)))

            def _answer(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def deletes(self) -> list[str]:
        return [path for method, path, _ in self.requests if method == "DELETE"]

    def close(self) -> None:
        self.answers_event_queries.set()
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Machine:
    """A directory with a clean environment, substitutes for a VM's programs, and a simulated Azure."""

    root: Path
    azure: Azure
    psql: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    took: float = 0.0
    without_packages: bool = False

    @property
    def home(self) -> Path:
        return self.root / "powerlift"

    @property
    def log(self) -> str:
        file = self.root / "console.log"
        return file.read_text() if file.exists() else ""

    def program(self, name: str, text: str = "") -> None:
        """Put a program on the VM's PATH: it records its arguments, then runs `text` (bash).

        It finds the machine's directory in $ROOT.
        """
        file = self.root / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/bash\n{_RECORD}\n{text}\n")
        file.chmod(0o755)

    def announce(self, kind: str = "Preempt", machine: str = "powerlift-vm-1-0007") -> None:
        """Announce an eviction of the VM, or another scheduled event."""
        self.azure.events.append(
            {
                "EventId": "an-event",
                "EventType": kind,
                "EventStatus": "Scheduled",
                "Resources": [machine],
            }
        )

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of each call of a substituted program."""
        file = self.root / f"{name}.calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.split("\x1f")[:-1] for line in lines]

    def start(self, startup: Startup) -> None:
        script = self.root / "script.sh"
        script.write_text(render(startup))
        environment = {**self.environment(), **self.env}
        if self.without_packages:
            del environment["PYTHONPATH"]
        with (self.root / "console.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", str(script)], cwd=self.root, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_adopt_orphans,
            )  # fmt: skip

    def environment(self) -> dict[str, str]:
        python = Path(getattr(sys, "_base_executable", sys.executable)).parent
        path = [self.root / "bin", self.psql, python, "/usr/bin", "/bin"]
        return {
            "PATH": ":".join(map(str, path)),
            "HOME": str(self.root),
            "ROOT": str(self.root),
            "POWERLIFT_HOME": str(self.home),
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": self.azure.url,
            "PYTHONPATH": sysconfig.get_path("purelib"),  # what the `uv` here does not install
            "OPENBLAS_NUM_THREADS": "1",
            "POWERLIFT_RUN_BACKOFF": "0",
        }

    def run(self, startup: Startup, timeout: float = TIMEOUT) -> int:
        self.start(startup)
        return self.wait(timeout)

    def wait(self, timeout: float = TIMEOUT) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def wait_for_log(self, text: str, timeout: float = 30) -> None:
        self.until(lambda: text in self.log, timeout)

    def until(self, condition: Callable[[], object], timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def left(self) -> list[str]:
        """The command lines of processes that the script has left running."""
        lines = []
        for pid in self._left():
            with contextlib.suppress(OSError):  # ended meanwhile
                lines.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        return lines

    def _left(self) -> Iterator[int]:
        assert self.process is not None
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state != "Z":
                    yield int(entry.name)

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            for pid in self._left():  # where a test has killed the script alone
                os.kill(pid, signal.SIGKILL)


def _adopt_orphans() -> None:
    """Have the script reap orphans, as a VM's init would: `stop_group` waits for them, and the init of
    the container that tests run in may take seconds."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


@contextmanager
def machine(directory: Path, database: Benchmark) -> Iterator[Machine]:
    """A VM with psql, a `uv` that installs nothing, and no internet."""
    azure = Azure()
    machine = Machine(directory, azure, database.postgres.bin)
    for name in ("apt-get", "dpkg", "shutdown"):
        machine.program(name)
    machine.program("uv", RESOLVER)
    machine.program("dpkg-query", "exit 1")
    yield machine
    machine.close()
    azure.close()


@pytest.fixture(scope="class")
def vm(
    tmp_path_factory: pytest.TempPathFactory, benchmark_database: Benchmark
) -> Iterator[Machine]:
    """A new VM for each function; one for all tests of a class."""
    with machine(tmp_path_factory.mktemp("vm"), benchmark_database) as vm:
        yield vm


@pytest.fixture
def other_vm(tmp_path: Path, benchmark_database: Benchmark) -> Iterator[Machine]:
    with machine(tmp_path, benchmark_database) as vm:
        yield vm


@pytest.fixture(scope="class")
def startup(vm: Machine, benchmark_database: Benchmark) -> Callable[..., Startup]:
    """A VM's startup values for an experiment; keywords override the defaults."""

    def make(experiment: int, **changes: Any) -> Startup:
        values: dict[str, Any] = {
            "experiment_id": experiment, "runner_id": 7, "uri": benchmark_database.uri.replace("://", "+psycopg2://"),
            "fleet_size": 1, "timeout": 60.0, "delete_on_complete": True, "subscription_id": "sub",
            "resource_group": "group one", "vm_name": "powerlift-vm-1-0007",
            "resource_manager_endpoint": vm.azure.url, "lock_key": f"fleet of experiment {experiment}",
        }  # fmt: skip
        return Startup(**{**values, **changes})

    return make
