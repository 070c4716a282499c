"""The client of the app's HTTP API, in two forms: FleetClient blocks, AsyncFleetClient awaits."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from ipaddress import ip_address
from types import TracebackType
from typing import Any, TypeVar

import httpx

from powerlift_fleet._version import __version__
from powerlift_fleet.api import wire
from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.flows import Flow, Flows, Pause, Shown
from powerlift_fleet.api.wire import Answer, Call, Silence

T = TypeVar("T")
Json = dict[str, Any]

INTERVAL = 5.0
"""Seconds between two looks at a fleet."""


class _Client:
    """What both forms share: where the app is, how to knock, and how to read what comes back."""

    def __init__(self, url: str | None, key: str | None, patience: float) -> None:
        url = url if url is not None else os.environ.get("FLEET_URL", "")
        if not url.strip():
            raise ConfigurationError("There is no URL of an app. Give url, or set FLEET_URL.")
        if key is None:
            key = os.environ.get("FLEET_KEY", "")
            if not key.strip():
                raise ConfigurationError(
                    "There is no function key. Give key, or set FLEET_KEY. For an app that asks for "
                    "none, as `func start` runs it, give an empty key."
                )
        self._key = wire.header_key(key)
        self._flows = Flows(url, patience)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @property
    def url(self) -> str:
        """Where the API is: ends in /api."""
        return self._flows.url

    def view_url(self, fleet: str | int) -> str:
        """The page on which a person can watch the fleet; holds the key, which browsers do not send."""
        return self._flows.view_url(fleet, self._key)

    def _options(self, timeout: float) -> dict[str, Any]:
        headers = {
            "User-Agent": f"powerlift-fleet/{__version__}",
            "Accept": "application/json, */*",
        }
        if self._key:
            headers["x-functions-key"] = self._key
        return {
            "headers": headers,
            "timeout": timeout,
            "trust_env": not _is_loopback(self.url),  # no proxy reaches our own loopback
            "follow_redirects": False,  # the key is for this host alone
        }

    def _content(self, call: Call) -> dict[str, Any]:
        if call.body is None:
            return {}
        return {"content": call.body, "headers": {"Content-Type": "application/json"}}


class FleetClient(_Client):
    """The app, for code that waits. A context manager; may be used by several threads.

    `url` (with or without /api) and `key` default to FLEET_URL and FLEET_KEY. `timeout` is the
    seconds for one attempt, `patience` those for all attempts of one call: what may pass (a host
    that restarts, 429, 502 to 504) is tried again, with backoff. `transport` replaces the network.

    `fleet` is "fleet-7", "7" or 7 everywhere. Raises ConfigurationError, and from each call
    FleetUnreachable or a branch of ApiError.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, patience)
        self._http = httpx.Client(transport=transport, **self._options(timeout))

    def submit(self, request: Mapping[str, Any]) -> Json:
        """Start a fleet. Returns {id, batch_id, links, created}.

        A request without `batch_id` gets one before it is sent, so that what is sent again after a
        silence is the same fleet. `created` is False where the batch was there already.
        """
        return self._run(self._flows.submit(request))

    def plan(self, request: Mapping[str, Any]) -> Json:
        """What a fleet of this request would meet: {ok, n_instances, places, trials, checks, …}."""
        return self._run(self._flows.plan(request))

    def fleets(self) -> list[Json]:
        """The status of every fleet that the app knows, the newest first."""
        return self._run(self._flows.fleets())

    def status(self, fleet: str | int) -> Json:
        """Phase, VMs and trials by state, failures by code."""
        return self._run(self._flows.status(fleet))

    def machines(self, fleet: str | int) -> list[Json]:
        """A record per VM, in order of ordinal."""
        return self._run(self._flows.machines(fleet))

    def progress(self, fleet: str | int) -> Json:
        """Trials over time, the expected end, VM hours and cost."""
        return self._run(self._flows.progress(fleet))

    def log(self, fleet: str | int, ordinal: int) -> str:
        """The tail of a VM's console; its first line tells how the VM ended."""
        return self._run(self._flows.log(fleet, ordinal))

    def cancel(self, fleet: str | int) -> Json:
        """Have the fleet cancelled and its VMs taken down; returns before they are."""
        return self._run(self._flows.cancel(fleet))

    def watch(
        self,
        fleet: str | int,
        interval: float = INTERVAL,
        *,
        appears_within: float = 0.0,
        patience: float | None = None,
    ) -> Iterator[Json]:
        """Statuses, one every `interval` seconds, until the fleet has ended.

        A silence of the app is ridden out for the client's patience; once it has answered, for
        `patience` seconds where that is given. `appears_within` is for a fleet asked for by queue:
        how long the app may not know it yet.
        """
        flow = self._flows.watch(fleet, interval, None, appears_within, patience)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Shown):
                    yield step.status
                step = flow.send(self._do(step))
        except StopIteration:
            return

    def wait(
        self, fleet: str | int, timeout: float | None = None, *, interval: float = INTERVAL
    ) -> Json:
        """Wait until the fleet is done; returns its last status.

        Raises FleetFailed, FleetCancelled; FleetTimeout after `timeout` seconds.
        """
        return self._run(self._flows.wait(fleet, timeout, interval))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> FleetClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                step = flow.send(self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Call | Pause | Shown) -> Answer | Silence | None:
        if isinstance(step, Call):
            try:
                url = f"{self.url}{step.path}"
                return _answer(self._http.request(step.method, url, **self._content(step)))
            except httpx.RequestError as error:
                return _silence(error)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
        return None


class AsyncFleetClient(_Client):
    """The app, for code that awaits: FleetClient's methods as coroutines, `watch` for `async for`."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        patience: float = 120.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, patience)
        self._http = httpx.AsyncClient(transport=transport, **self._options(timeout))

    async def submit(self, request: Mapping[str, Any]) -> Json:
        """As FleetClient.submit."""
        return await self._run(self._flows.submit(request))

    async def plan(self, request: Mapping[str, Any]) -> Json:
        """As FleetClient.plan."""
        return await self._run(self._flows.plan(request))

    async def fleets(self) -> list[Json]:
        """As FleetClient.fleets."""
        return await self._run(self._flows.fleets())

    async def status(self, fleet: str | int) -> Json:
        """As FleetClient.status."""
        return await self._run(self._flows.status(fleet))

    async def machines(self, fleet: str | int) -> list[Json]:
        """As FleetClient.machines."""
        return await self._run(self._flows.machines(fleet))

    async def progress(self, fleet: str | int) -> Json:
        """As FleetClient.progress."""
        return await self._run(self._flows.progress(fleet))

    async def log(self, fleet: str | int, ordinal: int) -> str:
        """As FleetClient.log."""
        return await self._run(self._flows.log(fleet, ordinal))

    async def cancel(self, fleet: str | int) -> Json:
        """As FleetClient.cancel."""
        return await self._run(self._flows.cancel(fleet))

    async def watch(
        self,
        fleet: str | int,
        interval: float = INTERVAL,
        *,
        appears_within: float = 0.0,
        patience: float | None = None,
    ) -> AsyncIterator[Json]:
        """As FleetClient.watch."""
        flow = self._flows.watch(fleet, interval, None, appears_within, patience)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Shown):
                    yield step.status
                step = flow.send(await self._do(step))
        except StopIteration:
            return

    async def wait(
        self, fleet: str | int, timeout: float | None = None, *, interval: float = INTERVAL
    ) -> Json:
        """As FleetClient.wait."""
        return await self._run(self._flows.wait(fleet, timeout, interval))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncFleetClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Call | Pause | Shown) -> Answer | Silence | None:
        if isinstance(step, Call):
            try:
                url = f"{self.url}{step.path}"
                return _answer(await self._http.request(step.method, url, **self._content(step)))
            except httpx.RequestError as error:
                return _silence(error)
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        return None


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.text)


def _silence(error: httpx.RequestError) -> Silence:
    """What kept an answer away. A certificate that we do not trust does not mend by asking again."""
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Silence(f"its certificate is not trusted ({error})", final=True)
    if any(isinstance(one, socket.gaierror) and one.errno == socket.EAI_NONAME for one in causes):
        return Silence(f"its name is not known here ({error})", nameless=True)
    return Silence(str(error) or type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
