"""What each call of the client does, step by step, without doing it.

A flow is a generator: it yields what is to be done next, and is sent what came of it. The clients
are two drivers of the same flows, one that blocks and one that awaits, as httpx has it for
authentication.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from powerlift_fleet.api import wire
from powerlift_fleet.api.errors import (
    FleetCancelled,
    FleetFailed,
    FleetTimeout,
    FleetUnreachable,
    NotFound,
    Unsettled,
)
from powerlift_fleet.api.retry import Retry
from powerlift_fleet.api.wire import Answer, Call, Silence

BATCH_BITS = 53
"""Bits of a batch id: what survives JSON in JavaScript and jq unrounded."""

T = TypeVar("T")


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Shown:
    """A status for whoever watches."""

    status: dict[str, Any]


Step = Call | Pause | Shown
Flow = Generator[Step, Any, T]
"""Is sent an Answer or a Silence for a Call, and None for the others."""

_log = logging.getLogger("powerlift_fleet")


class Flows:
    """The flows of one app. `patience` is the seconds that one call is repeated for."""

    def __init__(
        self, url: str, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.url = wire.api_url(url)
        self.patience = patience
        self._clock = clock

    def submit(self, request: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        chosen = request.get("batch_id") is None
        document = {**request, "batch_id": new_batch_id()} if chosen else dict(request)
        call = Call("POST", "/fleets", wire.as_json(document))
        try:
            answer = yield from self._exchange(call)
        except Unsettled as error:
            error.batch_id = document["batch_id"]
            raise
        # A repeat of ours may be answered as a repeat, though it is this very call that made it.
        created = chosen or answer.status == 202
        return {**wire.document_in(answer), "created": created}

    def plan(self, request: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        return (yield from self._document(Call("POST", "/plan", wire.as_json(request))))

    def fleets(self) -> Flow[list[dict[str, Any]]]:
        return list((yield from self._document(Call("GET", "/fleets")))["fleets"])

    def status(self, fleet: str | int) -> Flow[dict[str, Any]]:
        return (yield from self._document(Call("GET", _path(fleet))))

    def machines(self, fleet: str | int) -> Flow[list[dict[str, Any]]]:
        call = Call("GET", f"{_path(fleet)}/machines")
        return list((yield from self._document(call))["machines"])

    def progress(self, fleet: str | int) -> Flow[dict[str, Any]]:
        return (yield from self._document(Call("GET", f"{_path(fleet)}/progress")))

    def log(self, fleet: str | int, ordinal: int) -> Flow[str]:
        path = f"{_path(fleet)}/machines/{int(ordinal)}/log"
        return (yield from self._exchange(Call("GET", path))).text

    def cancel(self, fleet: str | int) -> Flow[dict[str, Any]]:
        return (yield from self._document(Call("DELETE", _path(fleet))))

    def watch(
        self,
        fleet: str | int,
        interval: float,
        timeout: float | None = None,
        appears_within: float = 0.0,
        patience: float | None = None,
    ) -> Flow[dict[str, Any]]:
        """Shows every status; returns the last one. Raises FleetTimeout, with the last one.

        `patience` is for silences after the first status.
        """
        begin, known = self._clock(), False
        while True:
            try:
                call = Call("GET", _path(fleet))
                answer = yield from self._exchange(call, known, patience if known else None)
            except NotFound:
                if known or self._clock() - begin >= appears_within:
                    raise
                yield Pause(min(interval, 1.0))
                continue
            status, known = wire.document_in(answer), True
            yield Shown(status)
            if status["phase"] in wire.TERMINAL:
                return status
            waited = self._clock() - begin
            if timeout is not None and waited >= timeout:
                raise FleetTimeout(status, timeout)
            yield Pause(interval if timeout is None else min(interval, timeout - waited))

    def wait(
        self, fleet: str | int, timeout: float | None, interval: float
    ) -> Flow[dict[str, Any]]:
        return settled((yield from self.watch(fleet, interval, timeout)))

    def view_url(self, fleet: str | int, key: str) -> str:
        return f"{self.url}/view/{wire.fleet_id(fleet)}#key={quote(key, safe='')}"

    def _document(self, call: Call) -> Flow[dict[str, Any]]:
        return wire.document_in((yield from self._exchange(call)))

    def _exchange(
        self, call: Call, known: bool = False, patience: float | None = None
    ) -> Flow[Answer]:
        """Ask until there is an answer to keep. Raises FleetUnreachable, ApiError."""
        retry = Retry(self.patience if patience is None else patience, self._clock)
        while True:
            outcome: Answer | Silence = yield call
            if isinstance(outcome, Answer) and outcome.is_success:
                return outcome
            pause = retry.pause(outcome, known)
            if pause is None:
                raise self._given_up(outcome, retry)
            _log.info("%s: %s; again in %.1f s", self.url, _why(outcome), pause)
            yield Pause(pause)

    def _given_up(self, outcome: Answer | Silence, retry: Retry) -> Exception:
        if isinstance(outcome, Answer):
            return wire.refusal(outcome)
        tries = "once" if retry.attempts == 1 else f"{retry.attempts} times"
        return FleetUnreachable(
            f"{self.url} does not answer: {outcome.reason}. We asked {tries} in "
            f"{retry.elapsed:.0f} s. Check FLEET_URL, and that the app runs; fleets under way go on "
            "without us."
        )


def settled(status: dict[str, Any]) -> dict[str, Any]:
    """The last status of a fleet that is done. Raises FleetFailed, FleetCancelled."""
    if status["phase"] == "failed":
        raise FleetFailed(status)
    if status["phase"] == "cancelled":
        raise FleetCancelled(status)
    return status


def new_batch_id() -> int:
    """A batch id of our own, so that a request that is sent again is the same fleet."""
    return secrets.randbits(BATCH_BITS)


def _path(fleet: str | int) -> str:
    return f"/fleets/{wire.fleet_id(fleet)}"


def _why(outcome: Answer | Silence) -> str:
    return outcome.reason if isinstance(outcome, Silence) else f"status {outcome.status}"
