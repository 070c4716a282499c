"""The lines of VMs' logs, as a flow: each line once, in order, also while the logs grow."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from powerlift_fleet.api.errors import ConfigurationError, NotFound
from powerlift_fleet.api.flows import Emit, Flow, Flows, Sleep
from powerlift_fleet.api.responses import FleetStatus, LogLine
from powerlift_fleet.api.wire import HttpRequest, fleet_segment, parse

REMEMBERED = 500
"""Lines of a VM, to find where its stored log continues them."""
PARTS = 64
"""Parts of one log, 2 MB, that are read before the next VM's."""
OUTAGE_TIMEOUT = 600.0
"""Seconds for which a deployment may interrupt the app."""
_NO_LOG = ("refused", "failed", "deleted")
"""States of VMs of which no log will come any more."""


@dataclass
class _Log:
    """What is known of one VM's log."""

    machine: int
    after: str | None = None
    """The position from which the next part is read; None before the first part."""
    printed: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    is_complete: bool = False


@dataclass(frozen=True)
class LogReader:
    """Reads the logs of a fleet: of one VM, or of all with `machine` None.

    `tail`: only the last lines of each VM that the app has. `follow`: until the fleet has ended or, for
    one VM, it was deleted.
    """

    flows: Flows
    machine: int | None
    follow: bool
    tail: int | None
    interval: float

    def lines(self, fleet: str | int) -> Flow[None]:
        """Emit LogLines."""
        status = yield from self.flows.status(fleet)
        logs: dict[int, _Log] = {}
        if self.machine is not None:
            logs[self.machine] = _Log(self.machine)
        while True:
            is_last_round = not self.follow or status.is_terminal
            if self.machine is None:
                yield from self._add_new_vms(status.id, logs)
            for log in logs.values():
                yield from self._emit(status.id, log)
            if is_last_round or (self.machine is not None and logs[self.machine].is_complete):
                return
            yield Sleep(self.interval)
            response = yield from self._get(f"/fleets/{fleet_segment(status.id)}")
            status = parse(FleetStatus, response)

    def _get(self, path: str) -> Flow[Any]:
        """The response to a GET of a fleet that exists."""
        patience = max(self.flows.retry_timeout, OUTAGE_TIMEOUT) if self.follow else None
        return (yield from self.flows.exchange(HttpRequest("GET", path), True, patience))

    def _add_new_vms(self, fleet: str, logs: dict[int, _Log]) -> Flow[None]:
        for one in (yield from self.flows.machines(fleet)):
            if one.state != "refused":
                logs.setdefault(one.ordinal, _Log(one.ordinal))

    def _emit(self, fleet: str, log: _Log) -> Flow[None]:
        """Emit what is new in a log; nothing while there is none."""
        for _ in range(PARTS):
            if log.is_complete:
                return
            try:
                found = yield from self._part(fleet, log)
            except NotFound as error:
                # A fleet has VMs without a log. The one that was asked for should have one.
                is_asked_for = self.machine is not None and log.after is None
                if is_asked_for and (yield from self._will_have_none(fleet, log.machine)):
                    raise error from None
                return
            for line in found:
                log.printed.append(line)
                yield Emit(LogLine(log.machine, line))
            if not self.follow or not found:
                return

    def _will_have_none(self, fleet: str, machine: int) -> Flow[bool]:
        if not self.follow:
            return True
        vms = yield from self.flows.machines(fleet)
        state = next((one.state for one in vms if one.ordinal == machine), "refused")
        return state in _NO_LOG

    def _part(self, fleet: str, log: _Log) -> Flow[list[str]]:
        """The next lines of a log. Raises NotFound while there is no log."""
        after = "" if log.after is None else f"?after={quote(log.after)}"
        path = f"/fleets/{fleet_segment(fleet)}/machines/{log.machine}/log{after}"
        response = yield from self._get(path)
        position = response.headers.get("log-next")
        if position is None:
            raise ConfigurationError(
                "The app is older than this client: its logs can be shown, one VM at a time, but not "
                "followed. Ask the app's administrator to update it."
            )
        is_first, log.after = log.after is None, position
        log.is_complete = position.startswith("stored-")
        lines, rest = split_lines(response.text)
        if is_first:
            lines = lines[1:]  # without the one about the VM
        if rest and (log.is_complete or not self.follow):
            lines.append(rest)  # else the next part begins with it
        if is_first:
            return lines if self.tail is None else lines[max(0, len(lines) - self.tail) :]
        return continuation(log.printed, lines) if log.is_complete else lines


def split_lines(text: str) -> tuple[list[str], str]:
    """The complete lines of a text, and the rest. A progress bar ends its lines with \\r."""
    *lines, rest = re.split("\r\n|\n|\r", text)
    return lines, rest


def continuation(printed: Sequence[str], stored: Sequence[str]) -> list[str]:
    """The stored lines that follow the printed ones; all, if none of these is among them.

    The console may begin each line with its time and program, and has lines of the kernel, which the VM
    does not store. Of several places, the one that the most lines before confirm.
    """
    for last in range(len(printed) - 1, -1, -1):
        places = [at for at, line in enumerate(stored) if _is_same(printed[last], line)]
        if places:
            best = max(places, key=lambda at: (_confirmed(printed, last, stored, at), at))
            return list(stored[best + 1 :])
    return list(stored)


def _is_same(printed: str, stored: str) -> bool:
    return bool(stored.strip()) and (printed == stored or printed.endswith(f" {stored}"))


def _confirmed(printed: Sequence[str], last: int, stored: Sequence[str], at: int) -> int:
    """The number of lines before two places that are the same."""
    number = 0
    while last >= number and at >= number and _is_same(printed[last - number], stored[at - number]):
        number += 1
    return number
