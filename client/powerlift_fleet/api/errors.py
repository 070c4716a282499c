"""What can go wrong, as one tree: catch FleetError, or the branch that you can do something about.

Each message says what happened, what was done, and what you can do. None holds a key, a password or
a database URI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Status = Mapping[str, Any]
"""A fleet as `GET /fleets/{id}` shows it."""

_SHOWN = 3
"""Kinds of failures that a message tells in words."""


class FleetError(Exception):
    """The root of the tree."""


class ConfigurationError(FleetError, ValueError):
    """What the client was given cannot be used: no URL, no key, an id that is none. Nothing was sent."""


class Unsettled(FleetError):
    """Mixed into errors after which a fleet may have been started, or not.

    `batch_id` is the one that it would have: None for calls that start none.
    """

    batch_id: int | None = None

    def __str__(self) -> str:
        said = super().__str__()
        if self.batch_id is None:
            return said
        return (
            f"{said} If the request came through, the fleet is fleet-{self.batch_id}; to submit it "
            f"again with batch_id {self.batch_id} is safe."
        )


class FleetUnreachable(Unsettled):
    """The app did not answer, however often it was asked."""


class FleetTimeout(FleetError, TimeoutError):
    """The fleet had not ended after the time that the caller gave it. It goes on.

    `status` is its last one.
    """

    def __init__(self, status: Status, waited: float) -> None:
        super().__init__(status, waited)
        self.status = dict(status)
        self.waited = waited

    def __str__(self) -> str:
        return (
            f"{self.status['id']} is in phase {self.status['phase']} after {self.waited:g} s of "
            "waiting. The fleet goes on: wait again, or cancel it."
        )


class ApiError(FleetError):
    """The app answered, and not with what was asked for.

    `status` is the HTTP status, `title` and `detail` are the problem's (RFC 9457) or our words where
    the answer held none. `faults` lists what is wrong with a request: `pointer` (RFC 6901), `detail`.
    """

    advice = "Nothing else was done. The app's log may say more."

    def __init__(
        self, status: int, title: str, detail: str, faults: Sequence[Mapping[str, str]] = ()
    ) -> None:
        super().__init__(status, title, detail, faults)
        self.status = status
        self.title = title
        self.detail = detail
        self.faults = [dict(fault) for fault in faults]

    def __str__(self) -> str:
        said = [f"{self.title} ({self.status})."]
        if self.faults:
            said += [f"\n  {one['pointer'] or '/'}: {one['detail']}" for one in self.faults]
            said.append(f"\n{self.advice}")
            return "".join(said)
        return " ".join(filter(None, [*said, self.detail, self.advice]))


class RequestRefused(ApiError):
    """400 or 413: the request cannot be a fleet; `faults` holds every reason of a 400."""

    advice = "Nothing was started. Correct the request and submit it again."


class Unauthorized(ApiError):
    """401 or 403: the app does not take the key."""

    advice = (
        "Nothing was done. Check FLEET_KEY: it must be a function key or a host key of the very app "
        "that FLEET_URL names."
    )


class NotFound(ApiError):
    """404: no such fleet, VM or log; or nothing of ours is at the URL."""

    advice = "Check the fleet's id, and that FLEET_URL names the app that it was submitted to."


class BatchTaken(ApiError):
    """409: the batch id names a fleet that was asked for in other words."""

    advice = "Nothing was started."


class AppUnavailable(Unsettled, ApiError):
    """5xx or 429, still after every retry."""

    advice = (
        "The app or the platform below it has a fault, which may pass. The app's log says more."
    )


class FleetEnded(FleetError):
    """A fleet has ended without having run all it could. `status` is its last one."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = dict(status)


class FleetFailed(FleetEnded):
    """The fleet failed; its VMs were taken down."""

    def __str__(self) -> str:
        lines = [f"{self.status['id']} failed{_because(self.status.get('reason'))}"]
        lines += _told(self.status)
        return "\n".join(lines)


class FleetCancelled(FleetEnded):
    """Somebody cancelled the fleet; its VMs were taken down."""

    def __str__(self) -> str:
        lines = [f"{self.status['id']} was cancelled."]
        lines += _told(self.status)
        return "\n".join(lines)


def _because(reason: Mapping[str, Any] | None) -> str:
    if not reason:
        return "."
    advice = reason.get("advice") or ""
    return " ".join(filter(None, [f": {reason['code']}: {reason['message']}", advice]))


def _told(status: Status) -> list[str]:
    """What it met, the most frequent first; then what has become of its trials."""
    reason = (status.get("reason") or {}).get("code")
    lines = [
        f"  {one['count']} x {one['code']}: {one['message']}"
        + (f" What was done: {one['action']}." if one.get("action") else "")
        + (f" {one['advice']}" if one.get("advice") and one["code"] != reason else "")
        for one in list(status.get("failures") or [])[:_SHOWN]
    ]
    trials = status.get("trials")
    if trials:
        left = int(trials["total"]) - int(trials["complete"]) - int(trials["error"])
        lines.append(
            f"Trials: {trials['complete']} of {trials['total']} complete, {trials['error']} with an "
            f"error, {left} left" + (": another fleet can run them." if left else ".")
        )
    return lines
