"""The host: wires an app's functions to HTTP, Durable Functions, queues and timers."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import secrets
import socket
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from aiohttp import web

from local.functions.durable.api import ManagementApi
from local.functions.durable.engine import Engine
from local.functions.durable.links import Links
from local.functions.durable.tables import Tables
from local.functions.http.application import FunctionsHandler, make_application
from local.functions.http.kestrel import Runner
from local.functions.http.keys import DEFAULT, DURABLE, MASTER, Keys, KeysApi
from local.functions.http.routing import Router
from local.functions.indexing import Function
from local.functions.invoke import Invoker
from local.functions.outputs import QueueOutputs
from local.functions.queues import QueueListener
from local.functions.settings import HostSettings, SettingsError
from local.functions.storage import Storage, connection_of, find_account
from local.functions.timers import LEASE_SECONDS, Lease, Timer, Timers

_log = logging.getLogger(__name__)

ROLES = frozenset({"http", "durable", "triggers"})
"""The parts of an app that Azure's Flex Consumption plan scales separately: HTTP functions, Durable
Functions, and all other triggers."""

_GRACE = 2.0  # seconds for running functions at shutdown, which must take less than 5 in total


class FunctionsHost:
    """Hosts `functions` with all state in `state_dir`. For one use, on one event loop.

    Several hosts with different names may share `state_dir`. `roles` are the parts of the app that
    this host runs. Port 0 picks a free one. After `start`, `url` is the host's loopback URL, and
    `keys` are its access keys.
    """

    def __init__(
        self,
        functions: Sequence[Function],
        settings: HostSettings,
        state_dir: Path,
        *,
        host_root: Path,
        port: int = 0,
        name: str = "",
        roles: Collection[str] = ROLES,
    ) -> None:
        self._functions, self._settings = functions, settings
        self._state_dir, self._host_root, self._port = state_dir, host_root, port
        self._name, self._roles = name, roles
        self._router = Router(functions if "http" in roles else (), settings.route_prefix)
        self._resources = contextlib.ExitStack()
        self._storage = Storage(os.environ)
        self._stoppable: list[Engine | QueueListener | Timers] = []
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.keys: dict[str, str] = {}

    async def start(self) -> None:
        """Start serving. Raises SettingsError if the state or the port is in use, or a trigger is
        invalid."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop: accept no new work, give running functions a grace period, close everything."""
        stops = [part.stop(_GRACE) for part in self._stoppable]
        if self._runner is not None:
            stops.append(self._runner.cleanup())
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(failure, BaseException):
                _log.error("A part of the host failed to stop", exc_info=failure)
        await self._storage.close()
        await _close_client_session()
        self._resources.close()

    async def _start(self) -> None:
        keep = self._resources
        self._state_dir.mkdir(parents=True, exist_ok=True)
        keep.enter_context(_exclusive(self._state_dir / f"{file_name('host', self._name)}.lock"))
        with _locked(self._state_dir / "state.lock"):
            keys = Keys.load(self._state_dir / "keys.json")
            tables = Tables(self._state_dir / "durable.sqlite")
        keep.callback(tables.close)
        self.keys = {name: keys[name] for name in (MASTER, DEFAULT)}
        listening = keep.enter_context(_listen(self._port))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        durable = self._settings.durable
        links = Links(self.url, durable.hub_name, keys[DURABLE], secrets.token_urlsafe(24))
        invoker = Invoker(
            self._host_root,
            self._settings.function_timeout,
            outputs=QueueOutputs(self._storage, encoded=self._settings.queues.base64),
            client_binding=links.client_binding(),
        )
        keep.callback(invoker.close)
        engine = Engine(tables, self._functions, invoker, durable)
        triggers = self._triggers(invoker) if "triggers" in self._roles else []

        def check_system_key(request: web.Request) -> None:
            keys.require("SYSTEM", request)

        api = ManagementApi(
            engine, tables, links, check_system_key, replace_running=durable.replace_running
        )
        handler = FunctionsHandler(self._router, keys, invoker)
        keys_api = KeysApi(keys, (function.name for function in self._functions))
        application = make_application(handler, api.add_routes, keys_api.add_routes)
        self._runner = Runner(application, access_log=None, shutdown_timeout=_GRACE)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()
        self._stoppable = [engine, *triggers]
        if "durable" in self._roles:
            engine.start()
        for trigger in triggers:
            trigger.start()

    def _triggers(self, invoker: Invoker) -> list[QueueListener | Timers]:
        found: list[QueueListener | Timers] = []
        timers: list[Timer] = []
        for function in self._functions:
            if function.kind == "timerTrigger":
                state = self._state_dir / "timers" / f"{function.name}.json"
                timers.append(Timer(function, state, invoker))
            elif function.kind == "queueTrigger":
                name = connection_of(function.trigger)
                if find_account(name, os.environ) is None:
                    _log.warning(
                        "Function '%s' is disabled: its connection %s is not set",
                        function.name,
                        name,
                    )
                    continue
                queues = self._settings.queues
                found.append(QueueListener(function, self._storage, queues, invoker))
        seconds = min(LEASE_SECONDS, self._settings.durable.message_visibility)
        return [*found, Timers(timers, Lease(self._state_dir / "timers.lease", seconds))]


def file_name(stem: str, name: str) -> str:
    """The name, without extension, of a file that each host has its own copy of."""
    return f"{stem}-{name}" if name else stem


@contextlib.contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Hold `lock`. Waits while another host holds it."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Hold `lock`. Raises SettingsError if another host holds it."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SettingsError(f"another host is using {lock.parent}") from error
        yield


def _listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1:`port`. Raises SettingsError if the port is in use."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise SettingsError(f"port {port} cannot be used: {error.strerror}") from error
    return listening


async def _close_client_session() -> None:
    """Close the durable client's global HTTP session, which the SDK never closes."""
    module = sys.modules.get("azure.durable_functions.models.utils.http_utils")
    if module is not None and hasattr(module, "_close_session"):
        await module._close_session()
