"""Every call of the client as a generator without I/O.

A flow yields what to do next and is sent the result. FleetClient (blocking) and AsyncFleetClient drive
the same flows, as httpx does for authentication.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from powerlift_fleet.api import wire
from powerlift_fleet.api.errors import (
    AllTrialsFailed,
    AppUnavailable,
    BatchTaken,
    ConfigurationError,
    FleetCancelled,
    FleetError,
    FleetFailed,
    FleetTimedOut,
    FleetTimeout,
    FleetUnreachable,
    NotFound,
    OutcomeUnknown,
    RetryRefused,
)
from powerlift_fleet.api.json_reader import Response
from powerlift_fleet.api.responses import (
    Cancellation,
    FleetList,
    FleetListEntry,
    FleetsRequest,
    FleetStatus,
    Machine,
    MachineList,
    PackageLock,
    PackageLockList,
    Plan,
    Progress,
    Submission,
    Trial,
    TrialPage,
)
from powerlift_fleet.api.retry import Retry
from powerlift_fleet.api.rows import Rows
from powerlift_fleet.api.wire import ConnectionFailure, HttpRequest, HttpResponse

GENERATED_BATCH_BITS = 53
"""Short IDs, which JavaScript and jq do not round."""

PAGE_SIZE, TRIALS_PAGE = 200, 500
"""The largest pages of the app's lists."""

T = TypeVar("T")
R = TypeVar("R", bound=Response)


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Emit:
    """Hand a status or a line of a log to the caller."""

    item: Any


Step = HttpRequest | Sleep | Emit
Flow = Generator[Step, Any, T]
"""An HttpRequest is sent its HttpResponse or ConnectionFailure; other steps are sent None."""

_log = logging.getLogger("powerlift_fleet")


class Flows:
    """The flows for one app. Each call is retried for `retry_timeout` seconds."""

    def __init__(
        self, url: str, retry_timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.url = wire.api_url(url)
        self.retry_timeout = retry_timeout
        self._clock = clock

    def submit(self, request: Mapping[str, Any]) -> Flow[Submission]:
        generated = request.get("batch_id") is None
        document = {**request, "batch_id": new_batch_id()} if generated else dict(request)
        call = HttpRequest("POST", "/fleets", wire.to_json(document))
        try:
            response = yield from self.exchange(call)
        except OutcomeUnknown as error:
            error.batch_id = document["batch_id"]
            raise
        # A 200 to a generated ID answers a retry of this call, whose first attempt started the fleet.
        created = generated or response.status == 202
        return replace(wire.parse(Submission, response), created=created)

    def plan(self, request: Mapping[str, Any]) -> Flow[Plan]:
        return (yield from self.read(Plan, "POST", "/plan", wire.to_json(request)))

    def fleets(self, query: Mapping[str, object], limit: int | None) -> Flow[Rows[FleetListEntry]]:
        """Read pages until there are `limit` entries."""
        query = _query(query)
        found: list[FleetListEntry] = []
        while limit is None or len(found) < limit:
            size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
            path = f"/fleets?{urlencode({**query, 'limit': size})}"
            page = yield from self.read(FleetList, "GET", path)
            found += page.fleets
            if page.next is None:
                break
            query = {**query, "cursor": page.next}
        return Rows(found)

    def status(self, fleet: str | int) -> Flow[FleetStatus]:
        return (yield from self.read(FleetStatus, "GET", _path(fleet)))

    def machines(self, fleet: str | int) -> Flow[Rows[Machine]]:
        found = yield from self.read(MachineList, "GET", f"{_path(fleet)}/machines")
        return Rows(found.machines)

    def locks(self, fleet: str | int) -> Flow[Rows[PackageLock]]:
        found = yield from self.read(PackageLockList, "GET", f"{_path(fleet)}/lock")
        if found.problem:
            raise AppUnavailable(503, "The packages could not be read", found.problem)
        return Rows(found.locks)

    def progress(self, fleet: str | int) -> Flow[Progress]:
        return (yield from self.read(Progress, "GET", f"{_path(fleet)}/progress"))

    def log(self, fleet: str | int, ordinal: int) -> Flow[str]:
        path = f"{_path(fleet)}/machines/{int(ordinal)}/log"
        return (yield from self.exchange(HttpRequest("GET", path))).text

    def trials(
        self, fleet: str | int, state: str | None, traceback: bool, limit: int | None
    ) -> Flow[Rows[Trial]]:
        """Read pages until there are `limit` trials."""
        query: dict[str, Any] = {"state": state, "traceback": "true" if traceback else None}
        found: list[Trial] = []
        while limit is None or len(found) < limit:
            query["limit"] = TRIALS_PAGE if limit is None else min(TRIALS_PAGE, limit - len(found))
            path = f"{_path(fleet)}/trials?{urlencode(wire.without_none(**query))}"
            page = yield from self.read(TrialPage, "GET", path)
            found += page.trials
            if page.next is None:
                break
            fleet, query["cursor"] = page.id, page.next  # what latest or a name means may change
        return Rows(found)

    def request_of(self, fleet: str | int) -> Flow[FleetsRequest]:
        return (yield from self.read(FleetsRequest, "GET", f"{_path(fleet)}/request"))

    def retry(self, fleet: str | int) -> Flow[Submission]:
        call = HttpRequest("POST", f"{_path(fleet)}/retry")
        try:
            response = yield from self.exchange(call)
        except BatchTaken as error:
            raise RetryRefused(error.status, error.title, error.detail) from None
        return replace(wire.parse(Submission, response), created=response.status == 202)

    def cancel(self, fleet: str | int) -> Flow[Cancellation]:
        return (yield from self.read(Cancellation, "DELETE", _path(fleet)))

    def watch(
        self,
        fleet: str | int,
        interval: float,
        timeout: float | None = None,
        appears_within: float = 0.0,
        retry_timeout: float | None = None,
    ) -> Flow[FleetStatus]:
        """Emit every status; return the last one. Raises FleetTimeout with the last one.

        `retry_timeout` applies after the first status, which also settles which fleet `latest` or a name
        is. With `appears_within`, a prefix is not resolved: the fleet may not exist yet, while another
        fleet's ID begins with its digits.
        """
        begin, seen = self._clock(), False
        call = HttpRequest("GET", _path(fleet))
        while True:
            try:
                response = yield from self.exchange(call, seen, retry_timeout if seen else None)
                status = wire.parse(FleetStatus, response)
                if appears_within and _is_longer(status, fleet):
                    raise NotFound(404, "Fleet not found", f"{fleet} does not exist.")
            except NotFound:
                if seen or self._clock() - begin >= appears_within:
                    raise
                yield Sleep(min(interval, 1.0))
                continue
            call, seen = HttpRequest("GET", _path(status.id)), True
            yield Emit(status)
            if status.is_terminal:
                return status
            waited = self._clock() - begin
            if timeout is not None and waited >= timeout:
                raise FleetTimeout(status, timeout)
            yield Sleep(interval if timeout is None else min(interval, timeout - waited))

    def wait(self, fleet: str | int, timeout: float | None, interval: float) -> Flow[FleetStatus]:
        status = yield from self.watch(fleet, interval, timeout)
        return (yield from self.raise_unless_done(status))

    def raise_unless_done(self, status: FleetStatus) -> Flow[FleetStatus]:
        """Return the status of a fleet that has not failed.

        Raises FleetFailed, or FleetTimedOut if its `max_lifetime` passed; FleetCancelled,
        AllTrialsFailed.
        """
        if status.phase == "failed":
            raise (FleetTimedOut if status.is_timed_out else FleetFailed)(status)
        if status.phase == "cancelled":
            raise FleetCancelled(status)
        if status.outcome != "all_trials_failed":
            return status
        try:
            errors = (yield from self.progress(status.id)).errors
        except FleetError:  # the outcome counts, not that it cannot be explained
            errors = ()
        raise AllTrialsFailed(status, errors)

    def view_url(self, fleet: str | int, key: str) -> str:
        return f"{self.url}/view/{wire.fleet_segment(fleet)}#key={quote(key, safe='')}"

    def read(self, kind: type[R], method: str, path: str, body: str | None = None) -> Flow[R]:
        response = yield from self.exchange(HttpRequest(method, path, body))
        return wire.parse(kind, response)

    def exchange(
        self, call: HttpRequest, seen: bool = False, retry_timeout: float | None = None
    ) -> Flow[HttpResponse]:
        """Send a request until it succeeds. Raises FleetUnreachable, ApiError."""
        retry = Retry(self.retry_timeout if retry_timeout is None else retry_timeout, self._clock)
        while True:
            outcome: HttpResponse | ConnectionFailure = yield call
            if isinstance(outcome, HttpResponse) and outcome.is_success:
                return outcome
            seconds = retry.backoff(outcome, seen)
            if seconds is None:
                raise self._error(call, outcome, retry)
            _log.info("%s: %s; retry in %.1f s", self.url, _reason(outcome), seconds)
            yield Sleep(seconds)

    def _error(
        self, call: HttpRequest, outcome: HttpResponse | ConnectionFailure, retry: Retry
    ) -> Exception:
        if isinstance(outcome, HttpResponse):
            return wire.error_from(outcome, call.method)
        attempts = "1 attempt" if retry.attempts == 1 else f"{retry.attempts} attempts"
        return unreachable(self.url, outcome.reason, f"{attempts} in {retry.elapsed:.0f} s")


def unreachable(url: str, reason: str, tried: str) -> FleetUnreachable:
    """`tried`: what was done before giving up."""
    error = FleetUnreachable(
        f"{url} does not respond: {reason}. Gave up after {tried}. Check FLEET_URL, and that the app is "
        "running; existing fleets keep running."
    )
    error.reason = reason
    return error


def new_batch_id() -> int:
    return secrets.randbits(GENERATED_BATCH_BITS)


def _path(fleet: str | int) -> str:
    return f"/fleets/{wire.fleet_segment(fleet)}"


def _is_longer(status: FleetStatus, fleet: str | int) -> bool:
    """Whether `fleet` is only the first digits of this fleet's ID."""
    digits = str(fleet).strip().lower().removeprefix("fleet-")
    return digits.isdecimal() and int(digits) not in (status.batch_id, status.number)


def _query(filters: Mapping[str, object]) -> dict[str, object]:
    """The query parameters of a list: those that are not None, with times in UTC."""
    given = wire.without_none(**filters)
    since = given.get("since")
    if isinstance(since, timedelta):
        since = datetime.now(timezone.utc) - since
    if isinstance(since, datetime):
        given["since"] = since.astimezone(timezone.utc).isoformat()
    elif since is not None:
        raise ConfigurationError("since must be a datetime or a timedelta.")
    return given


def _reason(outcome: HttpResponse | ConnectionFailure) -> str:
    return outcome.reason if isinstance(outcome, ConnectionFailure) else f"status {outcome.status}"
