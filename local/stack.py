"""The whole stack on one machine: PostgreSQL, storage queues, Azure, and the host with the app."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol

from cryptography.fernet import Fernet

from local.azure.faults.plan import load
from local.azure.options import ROLE_ASSIGNMENT_LIMIT
from local.azurite import Azurite
from local.bytecode import share_bytecode
from local.environment import base_environment, vm_environment, vm_tools
from local.functions.storage import Account
from local.postgres import Postgres
from local.process import Service, StartStop, announce, free_port, recall
from local.queues import QUEUE, make_queues

REPOSITORY = Path(__file__).resolve().parent.parent
CACHE = REPOSITORY / ".local" / "cache"

_BOOT_POLL_SECONDS, _RUN_POLL_SECONDS = 10.0, 30.0  # the app's defaults, in simulated seconds
_WRITES_PER_SECOND = 10.0  # Azure's refill of a principal's bucket, in simulated seconds
_MIN_INTERVAL = 1.0  # seconds; shorter timers would overload the host


class _Component(Protocol):
    def start(self, timeout: float) -> object: ...
    def stop(self) -> object: ...


class Stack(StartStop):
    """PostgreSQL, Azurite, the Azure simulator and the Functions host with this repository's app.

    A context manager: entering starts all of them (or stops them and raises ServiceError), exiting
    stops them in reverse order. Databases, keys, queues, ports and logs (`logs/`) persist in
    `state_dir`, and the networks of the Azure simulator; its VMs do not (`local/azure/README.md`).
    Another port replaces one that is in use.

    `time_scale` is wall seconds per simulated second, and `seed` seeds Azure's latencies. With
    `machines` "none" nothing runs inside the VMs. `app_settings` override the stack's own settings
    of the app. `faults` is a fault plan (docs/fault-injection.md), as a file or as parsed JSON; an
    invalid one raises `local.azure.faults.plan.InvalidPlan`. `role_assignment_limit` is that of the
    simulated subscription, by default Azure's. `hosts` are the roles of each host
    process (by default one process with all roles). `visibility_timeout`, in seconds, overrides the
    visibility timeouts of host.json. `app` is the folder of the app.
    """

    app: Path
    """The folder of the app, for the hosts that are started from now on: change it to deploy."""
    arm: dict[str, Any]
    """The simulator's ready.json: endpoint, CA bundle, subscription, credentials."""

    def __init__(
        self,
        state_dir: Path,
        *,
        time_scale: float = 0.05,
        seed: int = 0,
        machines: Literal["process", "none"] = "process",
        app_settings: Mapping[str, str] | None = None,
        faults: Mapping[str, Any] | Path | None = None,
        role_assignment_limit: int = ROLE_ASSIGNMENT_LIMIT,
        hosts: Sequence[str] = ("",),
        visibility_timeout: float | None = None,
        app: Path = REPOSITORY,
    ) -> None:
        self.state_dir = state_dir.resolve()
        self.logs = self.state_dir / "logs"
        self.time_scale, self.seed, self.machines = time_scale, seed, machines
        self.app_settings, self.app = dict(app_settings or {}), app
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._postgres = Postgres(self.state_dir / "postgres", CACHE)
        self._azurite = Azurite(self.state_dir / "azurite", CACHE)
        self._faults, self._role_assignment_limit = self._plan_file(faults), role_assignment_limit
        self._ports_file = self.state_dir / "ports.json"
        self._ports = recall(self._ports_file)
        """Of the simulator and the hosts, by name."""
        self._azure = self._service("azure", self._azure_options())
        self._starts: dict[_Component, Future[object]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._roles, self._visibility_timeout = hosts, visibility_timeout
        self._hosts: dict[int, Service] = {}
        self._ready: dict[int, dict[str, Any]] = {}
        """By number of the host: the content of its ready file."""

    @property
    def url(self) -> str:
        """The app's URL, http://127.0.0.1:PORT: that of the first host that runs and serves HTTP."""
        serving = [n for n, roles in enumerate(self._roles) if not roles or "http" in roles]
        running = [number for number in serving if self._hosts[number].running]
        return str(self._ready[(running or serving)[0]]["url"])

    @property
    def key(self) -> str:
        """The app's function key (header x-functions-key)."""
        return str(self._ready[0]["keys"]["default"])

    @property
    def db_uri(self) -> str:
        """The Powerlift database: postgresql://user:password@127.0.0.1:PORT/powerlift."""
        return self._postgres.uri()

    @property
    def psql_bin(self) -> Path:
        """The directory that contains psql."""
        return self._postgres.bin

    @property
    def queue_connection_string(self) -> str:
        """The connection string of the app's queues, in another account than the task hub's."""
        return self._azurite.queues_connection_string

    @property
    def task_hub_connection_string(self) -> str:
        """The connection string of the task hub's account (AzureWebJobsStorage)."""
        return self._azurite.connection_string

    def start(self) -> None:
        """Start all parts. If one fails, stop the others and raise ServiceError."""
        # The pool lives as long as the stack: PR_SET_PDEATHSIG fires when the *thread* that started
        # the child exits.
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="stack")
        try:
            # Azurite gets longer, since its first start downloads it.
            postgres, azurite = self._begin(self._postgres, 60), self._begin(self._azurite, 300)
            azure = self._begin(self._azure, 60)
            starts = [postgres, azurite, azure]
            if self.machines == "process":
                starts.append(self._pool.submit(share_bytecode, CACHE / "uv"))
            self._await(starts)
            account = Account(self.queue_connection_string)
            make_queues(account, self.app_settings.get("FLEET_QUEUE", QUEUE))
            self.arm = dict(azure.result())
            self.start_host()
            self._keep_ports()
        except BaseException:
            self.stop()
            raise

    def start_host(self) -> None:
        """Start the Functions hosts that do not run; after a stop, on the same state and ports."""
        numbers = [n for n in self.host_numbers if not self._runs(n)]
        for number in numbers:
            if number in self._hosts:
                self._starts.pop(self._hosts[number])
            self._hosts[number] = self._functions_host(number)
        starts = {number: self._begin(self._hosts[number], 60) for number in numbers}
        self._await(starts.values())
        self._ready |= {number: start.result() for number, start in starts.items()}

    def stop_host(self, *numbers: int) -> None:
        """Stop hosts in order, as a deployment does: those with these numbers, by default all."""
        for host in self._chosen(numbers):
            host.stop()

    def kill_host(self, *numbers: int) -> None:
        """Kill hosts with SIGKILL: those with these numbers, by default all."""
        for host in self._chosen(numbers):
            host.kill()

    @property
    def host_numbers(self) -> range:
        """Of the hosts, in the order of `hosts`."""
        return range(len(self._roles))

    @property
    def host_pid(self) -> int:
        """The process id of the first Functions host."""
        (host,) = self._chosen([0])
        assert host.process is not None
        return host.process.pid

    def wire(self) -> list[dict[str, Any]]:
        """The requests to the Azure simulator so far, in order, from its wire log."""
        log = (self.state_dir / "azure" / "wire.jsonl").read_text()
        whole, _, _ = log.rpartition("\n")  # the last line may be incomplete
        return [json.loads(line) for line in whole.splitlines()]

    def _known_port(self, part: str) -> int:
        """The port of the last start if it is free; otherwise 0: the part picks one."""
        known = int(self._ports.get(part, 0))
        return known if known and free_port(known) == known else 0

    def _keep_ports(self) -> None:
        hosts = {f"host {number}": _port_of(it["url"]) for number, it in self._ready.items()}
        announce(self._ports_file, {"azure": _port_of(self.arm["arm"]), **hosts})

    def stop(self) -> None:
        """Stop all parts in reverse order. Idempotent; may be called during `start`."""
        with (
            ExitStack() as stack
        ):  # a part that fails to stop does not prevent the others from stopping
            if self._pool is not None:
                stack.callback(self._pool.shutdown)
            for part in self._starts:
                stack.callback(self._stop, part)

    def _begin(self, part: _Component, timeout: float) -> Future[Any]:
        assert self._pool is not None
        self._starts[part] = start = self._pool.submit(part.start, timeout)
        return start

    def _await(self, starts: Iterable[Future[object]]) -> None:
        done, _ = wait(list(starts), return_when=FIRST_EXCEPTION)
        for start in done:
            start.result()

    def _stop(self, part: _Component) -> None:
        """Stop a part. Repeat while its start is still in progress in another thread."""
        part.stop()
        while not self._starts[part].done():
            wait([self._starts[part]], timeout=0.1)
            part.stop()

    def _chosen(self, numbers: Sequence[int]) -> list[Service]:
        assert self._hosts, "the stack has been started"
        return [self._hosts[number] for number in numbers or self._hosts]

    def _runs(self, number: int) -> bool:
        return number in self._hosts and self._hosts[number].running

    def _functions_host(self, number: int) -> Service:
        roles = self._roles[number]
        several = [str(number)] if self._roles.count(roles) > 1 else []
        name = "-".join([*filter(None, roles.split(",")), *several])
        ready = self._ready.get(number)
        port = _port_of(ready["url"]) if ready else self._known_port(f"host {number}")
        options = ["--host-root", str(self.app), "--port", str(port), "--name", name]
        options += ["--roles", roles] if roles else []
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
            env=base_environment() if env is None else env,
            cwd=REPOSITORY,
        )

    def _azure_options(self) -> list[str]:
        port = str(self._known_port("azure"))
        options = ["--port", port, "--machines", self.machines]
        options += ["--time-scale", str(self.time_scale), "--seed", str(self.seed)]
        options += ["--role-assignment-limit", str(self._role_assignment_limit)]
        for directory in (vm_tools(self.state_dir / "bin"), self.psql_bin):
            options += ["--machine-path", str(directory)]
        for name, value in vm_environment(CACHE, self.state_dir / "netrc").items():
            options += ["--machine-env", f"{name}={value}"]
        return options + (["--faults", str(self._faults)] if self._faults else [])

    def _plan_file(self, faults: Mapping[str, Any] | Path | None) -> Path | None:
        """The file with the fault plan. Validated here, so that the caller gets the error."""
        if faults is None:
            return None
        file = faults if isinstance(faults, Path) else self.state_dir / "faults.json"
        if not isinstance(faults, Path):
            file.write_text(json.dumps(faults))
        load(file)
        return file.resolve()

    def _host_env(self) -> dict[str, str]:
        return {
            **base_environment(),
            **self.arm["env"],
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "TASKHUB_NAME": "PowerliftFleet",
            "AzureWebJobsStorage": self._azurite.connection_string,
            "FLEET_QUEUE_CONNECTION": self.queue_connection_string,
            "POWERLIFT_DB_URI": self.db_uri,
            "FLEET_SEALING_KEY": self._sealing_key(),
            "FLEET_BOOT_POLL_SECONDS": str(
                max(_BOOT_POLL_SECONDS * self.time_scale, _MIN_INTERVAL)
            ),
            "FLEET_RUN_POLL_SECONDS": str(max(_RUN_POLL_SECONDS * self.time_scale, _MIN_INTERVAL)),
            "FLEET_WRITES_PER_SECOND": str(_WRITES_PER_SECOND / self.time_scale),
            **self.app_settings,
        }

    def _sealing_key(self) -> str:
        """One key per state directory, so that sealed secrets survive a restart."""
        file = self.state_dir / "sealing.key"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_bytes(Fernet.generate_key())
        return file.read_text()


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
