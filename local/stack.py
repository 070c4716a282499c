"""The whole stack on one machine: PostgreSQL, storage queues, Azure, and the host with the app."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from cryptography.fernet import Fernet

from local.azure.weather.document import load
from local.azurite import Azurite
from local.bytecode import lend_bytecode
from local.environment import machine_environment, machine_tools, outer_environment
from local.postgres import Postgres
from local.process import Service
from local.queues import QUEUE, make_queues

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".local" / "cache"

_OBSERVE_SECONDS, _WATCH_SECONDS = 10.0, 30.0  # the app's defaults, in simulated seconds
_WRITES_PER_SECOND = 10.0  # Azure's refill of a principal's bucket, in simulated seconds
_SHORTEST_TICK = 1.0  # seconds; below this the host would be busy with timers alone


class _Part(Protocol):
    def start(self, timeout: float) -> object: ...
    def stop(self) -> object: ...


class Stack:
    """PostgreSQL, Azurite, the Azure simulator and the Functions host with this repository's app.

    A context manager: entering starts them all (raises ServiceError when one does not start, after
    stopping the others), leaving stops them in reverse order. The databases, the keys and the logs
    (`logs/`) are kept in `state_dir`; what the Azure simulator holds lives as long as the stack.

    `time_scale` is wall seconds per simulated second, and `seed` draws Azure's latencies. With
    `machines` "none" the VMs only pretend to run. `app_settings` are the app's settings that differ
    from what the stack gives it. `faults` is a weather plan for Azure (docs/weather.md), as a file or
    as its parsed JSON; one that is not right raises `local.azure.weather.document.PlanRefused`.
    `hosts` are the roles of each host process (one process by default, which has all), and
    `visibility_timeout` is how many seconds their work stays hidden after a crash, in place of
    host.json's.
    """

    url: str
    """Where the app answers: http://127.0.0.1:PORT."""
    key: str
    """The app's function key (header x-functions-key)."""
    arm: dict[str, Any]
    """What the Azure simulator announced: endpoint, CA bundle, subscription, credentials."""

    def __init__(
        self,
        state_dir: Path,
        *,
        time_scale: float = 0.05,
        seed: int = 0,
        machines: Literal["process", "none"] = "process",
        app_settings: Mapping[str, str] | None = None,
        faults: Mapping[str, Any] | Path | None = None,
        hosts: Sequence[str] = ("",),
        visibility_timeout: float | None = None,
    ) -> None:
        self.state_dir = state_dir.resolve()
        self.logs = self.state_dir / "logs"
        self.time_scale, self.seed, self.machines = time_scale, seed, machines
        self.app_settings = dict(app_settings or {})
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._postgres = Postgres(self.state_dir / "postgres", CACHE)
        self._azurite = Azurite(self.state_dir / "azurite", CACHE)
        self._faults = self._plan_file(faults)
        self._azure = self._service("azure", self._azure_options())
        self._starts: dict[_Part, Future[object]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._roles, self._visibility_timeout = hosts, visibility_timeout
        self._hosts: list[Service] = []

    @property
    def db_uri(self) -> str:
        """The Powerlift database: postgresql://user:password@127.0.0.1:PORT/powerlift."""
        return self._postgres.uri()

    @property
    def psql_bin(self) -> Path:
        """The directory that holds psql."""
        return self._postgres.bin

    @property
    def queue_connection_string(self) -> str:
        """Where queue messages for the app go."""
        return self._azurite.connection_string

    def start(self) -> None:
        """Start everything. Raises ServiceError, and stops what had started."""
        # The pool lives as long as the stack: on Linux a child asks to be told of its parent's
        # death, and the kernel takes the *thread* that started it for its parent.
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="stack")
        try:
            # The first start downloads Azurite; the others take seconds.
            postgres, azurite = self._begin(self._postgres, 60), self._begin(self._azurite, 300)
            azure = self._begin(self._azure, 60)
            starts = [postgres, azurite, azure]
            if self.machines == "process":
                starts.append(self._pool.submit(lend_bytecode, CACHE / "uv"))
            self._await(starts)
            make_queues(self.queue_connection_string, self.app_settings.get("FLEET_QUEUE", QUEUE))
            self.arm = dict(azure.result())
            self.start_host()
        except BaseException:
            self.stop()
            raise

    def start_host(self) -> None:
        """Start the Functions host; again after `kill_host`, on the same state and port.

        Of several hosts the first one's `url` is the stack's.
        """
        port = self.url.rpartition(":")[2] if self._hosts else "0"
        for host in self._hosts:
            self._starts.pop(host)
        self._hosts = [
            self._functions_host(roles, "0" if number else port)
            for number, roles in enumerate(self._roles)
        ]
        hosts = [self._begin(host, 60) for host in self._hosts]
        self._await(hosts)
        self.url, self.key = hosts[0].result()["url"], hosts[0].result()["keys"]["default"]

    def kill_host(self) -> None:
        """End the host as `kill -9` does: nothing is flushed, nobody is told."""
        assert self._hosts, "the stack has been started"
        for host in self._hosts:
            host.kill()

    @property
    def host_pid(self) -> int:
        """The process of the Functions host, or of the first of several."""
        assert self._hosts, "the stack has been started"
        assert self._hosts[0].process is not None
        return self._hosts[0].process.pid

    def wire(self) -> list[dict[str, Any]]:
        """What the Azure simulator was asked so far, in order: the lines of its wire log."""
        log = (self.state_dir / "azure" / "wire.jsonl").read_text()
        whole, _, _ = log.rpartition("\n")  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def stop(self) -> None:
        """Stop everything that was started, last first; also while it starts, and twice."""
        with ExitStack() as every:  # one part that fails to stop does not keep the others running
            if self._pool is not None:
                every.callback(self._pool.shutdown)
            for part in self._starts:
                every.callback(self._end, part)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _begin(self, part: _Part, timeout: float) -> Future[Any]:
        assert self._pool is not None
        self._starts[part] = start = self._pool.submit(part.start, timeout)
        return start

    def _await(self, starts: Iterable[Future[object]]) -> None:
        done, _ = wait(list(starts), return_when=FIRST_EXCEPTION)
        for start in done:
            start.result()

    def _end(self, part: _Part) -> None:
        """Stop a part; again until its start has ended, which may be under way in its thread."""
        part.stop()
        while not self._starts[part].done():
            wait([self._starts[part]], timeout=0.1)
            part.stop()

    def _functions_host(self, roles: str, port: str) -> Service:
        options = ["--host-root", str(REPOSITORY), "--port", port]
        name = roles.replace(",", "-")
        options += ["--roles", roles, "--name", name] if roles else []
        if self._visibility_timeout is not None:
            options += ["--visibility-timeout", str(self._visibility_timeout)]
        return self._service("host", options, self._host_env(), f"-{name}" if name else "")

    def _service(
        self,
        name: str,
        options: Iterable[str],
        env: Mapping[str, str] | None = None,
        suffix: str = "",
    ) -> Service:
        state = self.state_dir / name
        module = {"azure": "local.azure", "host": "local.functions"}[name]
        return Service(
            name + suffix,
            [sys.executable, "-m", module, "--state", str(state), *options],
            ready=state / f"ready{suffix}.json",
            log=self.logs / f"{name}{suffix}.log",
            env=outer_environment() if env is None else env,
            cwd=REPOSITORY,
        )

    def _azure_options(self) -> list[str]:
        options = ["--port", "0", "--machines", self.machines]
        options += ["--time-scale", str(self.time_scale), "--seed", str(self.seed)]
        for directory in (machine_tools(self.state_dir / "bin"), self.psql_bin):
            options += ["--machine-path", str(directory)]
        for name, value in machine_environment(CACHE, self.state_dir / "netrc").items():
            options += ["--machine-env", f"{name}={value}"]
        return options + (["--faults", str(self._faults)] if self._faults else [])

    def _plan_file(self, faults: Mapping[str, Any] | Path | None) -> Path | None:
        """Where Azure finds its weather plan. Read here already: a refusal reaches who asked for it."""
        if faults is None:
            return None
        file = faults if isinstance(faults, Path) else self.state_dir / "faults.json"
        if not isinstance(faults, Path):
            file.write_text(json.dumps(faults))
        load(file)
        return file.resolve()

    def _host_env(self) -> dict[str, str]:
        return {
            **outer_environment(),
            **self.arm["env"],
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "TASKHUB_NAME": "PowerliftFleet",
            "AzureWebJobsStorage": self.queue_connection_string,
            "POWERLIFT_DB_URI": self.db_uri,
            "FLEET_SEALING_KEY": self._sealing_key(),
            "FLEET_OBSERVE_SECONDS": str(max(_OBSERVE_SECONDS * self.time_scale, _SHORTEST_TICK)),
            "FLEET_WATCH_SECONDS": str(max(_WATCH_SECONDS * self.time_scale, _SHORTEST_TICK)),
            "FLEET_WRITES_PER_SECOND": str(_WRITES_PER_SECOND / self.time_scale),
            **self.app_settings,
        }

    def _sealing_key(self) -> str:
        """One key per state directory: a fleet of the last start can still be opened after this one."""
        file = self.state_dir / "sealing.key"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_bytes(Fernet.generate_key())
        return file.read_text()
