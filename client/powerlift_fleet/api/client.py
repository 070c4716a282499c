"""FleetClient, which calls the app's HTTP API and blocks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

import httpx

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
TrialState = Literal["ready", "running", "complete", "failed"]

POLL_SECONDS = 5.0


class FleetClient(Connection):
    """The blocking client. A context manager; thread-safe.

    `url` (with or without /api) and `key` default to FLEET_URL and FLEET_KEY, else to those of
    `powerlift-fleet login`. `timeout` is the seconds for one attempt, `retry_timeout` for all attempts
    of a call: transient errors (a host that restarts, 429, 502 to 504) are retried with backoff.
    `transport` replaces the network.

    `fleet` is the fleet's ID ("fleet-7"), its number, its name, "latest", or an unambiguous prefix of
    one of these (of digits: at least 4). Raises ConfigurationError; every call raises FleetUnreachable
    or a subclass of ApiError.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        retry_timeout: float = 120.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, key, retry_timeout)
        self._http = httpx.Client(transport=transport, **self._options(timeout))

    def submit(self, request: Mapping[str, Any]) -> Submission:
        """Start a fleet.

        A request without `batch_id` gets one before it is sent, so a retry never starts a second fleet.
        """
        return self._run(self._flows.submit(request))

    def plan(self, request: Mapping[str, Any]) -> Plan:
        """Check a request without creating anything."""
        return self._run(self._flows.plan(request))

    def fleets(
        self,
        *,
        status: str | None = None,
        experiment: str | int | None = None,
        submitted_by: str | None = None,
        since: datetime | timedelta | None = None,
        sort: Literal["newest", "oldest"] = "newest",
        limit: int | None = None,
    ) -> Rows[FleetListEntry]:
        """The app's fleets, from all pages of its list: at most `limit`.

        `status`: a phase, "active" or "ended". `experiment`: an ID or a name. `submitted_by`:
        as the list shows it. `since`: the time of submission, or how long ago (a timedelta).
        """
        query = {
            "status": status,
            "experiment": experiment,
            "submitted_by": submitted_by,
            "since": since,
        }
        return self._run(self._flows.fleets({**query, "sort": sort}, limit))

    def status(self, fleet: str | int) -> FleetStatus:
        """Phase, VMs and trials by state, failures."""
        return self._run(self._flows.status(fleet))

    def machines(self, fleet: str | int) -> Rows[Machine]:
        """Every VM, in order of ordinal."""
        return self._run(self._flows.machines(fleet))

    def locks(self, fleet: str | int) -> Rows[PackageLock]:
        """What its VMs install, by CPU architecture; empty before the first VM has resolved it.

        `requirements` of one is the `requirements_lock` of another request.
        """
        return self._run(self._flows.locks(fleet))

    def progress(self, fleet: str | int) -> Progress:
        """Trials over time, the expected end, VM hours and cost."""
        return self._run(self._flows.progress(fleet))

    def log(self, fleet: str | int, ordinal: int) -> str:
        """The end of a VM's console output; the first line says how the VM ended."""
        return self._run(self._flows.log(fleet, ordinal))

    def logs(
        self,
        fleet: str | int,
        machine: int | None = None,
        *,
        follow: bool = False,
        tail: int | None = None,
        interval: float = POLL_SECONDS,
    ) -> Iterator[LogLine]:
        """Yield the lines of a VM's console output; without `machine` (an ordinal), those of every VM.

        The app has the last 32 KB of each VM. `tail`: only so many lines of each. `follow`: also what
        comes later, each line once, until the fleet has ended or the one VM was deleted; through outages
        of the app of ten minutes. Reads every `interval` seconds. Raises NotFound if the VM has no log.
        """
        reader = LogReader(self._flows, machine, follow, tail, interval)
        return self._emitted(reader.lines(fleet))

    def trials(
        self,
        fleet: str | int,
        *,
        state: TrialState | None = None,
        traceback: bool = False,
        limit: int | None = None,
    ) -> Rows[Trial]:
        """The trials of the fleet's experiment, by ID: from all pages, at most `limit`.

        `state`: only those. `traceback`: failed trials have their traceback.
        """
        return self._run(self._flows.trials(fleet, state, traceback, limit))

    def request_of(self, fleet: str | int) -> FleetsRequest:
        """The request of a fleet without its secrets: change it, and submit it as another fleet."""
        return self._run(self._flows.request_of(fleet))

    def retry(self, fleet: str | int) -> Submission:
        """Reset the failed trials of an ended fleet, and start a fleet with its request for them.

        A fleet is retried once: a repeated call returns the same new fleet, with `created` False.
        `fleet` must not be "latest" or a prefix. Raises RetryRefused.
        """
        return self._run(self._flows.retry(fleet))

    def cancel(self, fleet: str | int) -> Cancellation:
        """Cancel a fleet. Returns before its VMs are deleted."""
        return self._run(self._flows.cancel(fleet))

    def watch(
        self,
        fleet: str | int,
        interval: float = POLL_SECONDS,
        *,
        appears_within: float = 0.0,
        retry_timeout: float | None = None,
    ) -> Iterator[FleetStatus]:
        """Yield the status every `interval` seconds until the fleet has ended.

        `retry_timeout` replaces the client's after the first status. `appears_within`: seconds that a
        fleet submitted by queue may be unknown to the app.
        """
        return self._emitted(
            self._flows.watch(fleet, interval, None, appears_within, retry_timeout)
        )

    def wait(
        self, fleet: str | int, timeout: float | None = None, *, interval: float = POLL_SECONDS
    ) -> FleetStatus:
        """Wait until the fleet is done; return its last status.

        Raises FleetTimeout after `timeout` seconds, and as `raise_unless_done`.
        """
        return self._run(self._flows.wait(fleet, timeout, interval))

    def raise_unless_done(self, status: FleetStatus) -> FleetStatus:
        """Return the status of a fleet, unless it has ended without success.

        Raises FleetFailed, or FleetTimedOut if its `max_lifetime` passed; FleetCancelled;
        AllTrialsFailed, with the errors of the trials.
        """
        return self._run(self._flows.raise_unless_done(status))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> FleetClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _emitted(self, flow: Flow[Any]) -> Iterator[Any]:
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    yield step.item
                step = flow.send(self._do(step))
        except StopIteration:
            return

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                step = flow.send(self._do(step))
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Step) -> HttpResponse | ConnectionFailure | None:
        if isinstance(step, HttpRequest):
            try:
                return to_response(self._http.request(**self._arguments(step)))
            except httpx.RequestError as error:
                return to_failure(error)
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
        return None
