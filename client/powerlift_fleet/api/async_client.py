"""AsyncFleetClient, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import httpx

from powerlift_fleet.api.client import POLL_SECONDS, TrialState
from powerlift_fleet.api.connection import Connection, to_failure, to_response
from powerlift_fleet.api.flows import Emit, Flow, Sleep, Step
from powerlift_fleet.api.log_flow import LogReader
from powerlift_fleet.api.responses import (
    Cancellation,
    FleetListEntry,
    FleetsRequest,
    FleetStatus,
    LogLine,
    Machine,
    PackageLock,
    Plan,
    Progress,
    Submission,
    Trial,
)
from powerlift_fleet.api.rows import Rows
from powerlift_fleet.api.wire import ConnectionFailure, HttpRequest, HttpResponse

T = TypeVar("T")


class AsyncFleetClient(Connection):
    """The asyncio client: FleetClient's methods as coroutines, and `watch` for `async for`."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        retry_timeout: float = 120.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, retry_timeout)
        self._http = httpx.AsyncClient(transport=transport, **self._options(timeout))

    async def submit(self, request: Mapping[str, Any]) -> Submission:
        """As FleetClient.submit."""
        return await self._run(self._flows.submit(request))

    async def plan(self, request: Mapping[str, Any]) -> Plan:
        """As FleetClient.plan."""
        return await self._run(self._flows.plan(request))

    async def fleets(
        self,
        *,
        status: str | None = None,
        experiment: str | int | None = None,
        submitted_by: str | None = None,
        since: datetime | timedelta | None = None,
        sort: Literal["newest", "oldest"] = "newest",
        limit: int | None = None,
    ) -> Rows[FleetListEntry]:
        """As FleetClient.fleets."""
        query = {
            "status": status,
            "experiment": experiment,
            "submitted_by": submitted_by,
            "since": since,
        }
        return await self._run(self._flows.fleets({**query, "sort": sort}, limit))

    async def status(self, fleet: str | int) -> FleetStatus:
        """As FleetClient.status."""
        return await self._run(self._flows.status(fleet))

    async def machines(self, fleet: str | int) -> Rows[Machine]:
        """As FleetClient.machines."""
        return await self._run(self._flows.machines(fleet))

    async def locks(self, fleet: str | int) -> Rows[PackageLock]:
        """As FleetClient.locks."""
        return await self._run(self._flows.locks(fleet))

    async def progress(self, fleet: str | int) -> Progress:
        """As FleetClient.progress."""
        return await self._run(self._flows.progress(fleet))

    async def log(self, fleet: str | int, ordinal: int) -> str:
        """As FleetClient.log."""
        return await self._run(self._flows.log(fleet, ordinal))

    def logs(
        self,
        fleet: str | int,
        machine: int | None = None,
        *,
        follow: bool = False,
        tail: int | None = None,
        interval: float = POLL_SECONDS,
    ) -> AsyncIterator[LogLine]:
        """As FleetClient.logs."""
        reader = LogReader(self._flows, machine, follow, tail, interval)
        return self._emitted(reader.lines(fleet))

    async def trials(
        self,
        fleet: str | int,
        *,
        state: TrialState | None = None,
        traceback: bool = False,
        limit: int | None = None,
    ) -> Rows[Trial]:
        """As FleetClient.trials."""
        return await self._run(self._flows.trials(fleet, state, traceback, limit))

    async def request_of(self, fleet: str | int) -> FleetsRequest:
        """As FleetClient.request_of."""
        return await self._run(self._flows.request_of(fleet))

    async def retry(self, fleet: str | int) -> Submission:
        """As FleetClient.retry."""
        return await self._run(self._flows.retry(fleet))

    async def cancel(self, fleet: str | int) -> Cancellation:
        """As FleetClient.cancel."""
        return await self._run(self._flows.cancel(fleet))

    def watch(
        self,
        fleet: str | int,
        interval: float = POLL_SECONDS,
        *,
        appears_within: float = 0.0,
        retry_timeout: float | None = None,
    ) -> AsyncIterator[FleetStatus]:
        """As FleetClient.watch."""
        return self._emitted(
            self._flows.watch(fleet, interval, None, appears_within, retry_timeout)
        )

    async def wait(
        self, fleet: str | int, timeout: float | None = None, *, interval: float = POLL_SECONDS
    ) -> FleetStatus:
        """As FleetClient.wait."""
        return await self._run(self._flows.wait(fleet, timeout, interval))

    async def raise_unless_done(self, status: FleetStatus) -> FleetStatus:
        """As FleetClient.raise_unless_done."""
        return await self._run(self._flows.raise_unless_done(status))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncFleetClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def _emitted(self, flow: Flow[Any]) -> AsyncIterator[Any]:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                step = flow.send(await self._do(step))
        except StopIteration:
            return

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Step) -> HttpResponse | ConnectionFailure | None:
        if isinstance(step, HttpRequest):
            try:
                return to_response(await self._http.request(**self._arguments(step)))
            except httpx.RequestError as error:
                return to_failure(error)
        if isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
        return None
