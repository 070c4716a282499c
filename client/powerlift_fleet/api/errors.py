"""The exceptions of the client, as one tree below FleetError.

Each message says what happened, what the client did, and what you can do. No message contains a key, a
password or a database URI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from powerlift_fleet.api.responses import Check, FleetStatus, TrialError

_LISTED_FAILURES = 3
_OF_THE_EXPERIMENT = ("ExperimentInvalid", "PackagesUnavailable")
"""Codes of failures that another fleet of the same experiment would have too."""


class FleetError(Exception):
    """The base of all exceptions here."""


class ConfigurationError(FleetError, ValueError):
    """An argument, a setting or an ID is missing or invalid. Nothing was sent."""


class OutcomeUnknown(FleetError):
    """A mixin for errors after which the fleet may exist or not."""

    batch_id: int | None = None
    """Of the request; None for calls that do not submit a fleet."""

    def __str__(self) -> str:
        message = super().__str__()
        if self.batch_id is None:
            return message
        return (
            f"{message} If the app received the request, the fleet is fleet-{self.batch_id}. It is safe "
            f"to submit the request again with batch_id {self.batch_id}."
        )


class FleetUnreachable(OutcomeUnknown):
    """The app did not respond, after all retries. `reason`: that of the last attempt."""

    reason = ""


class FleetTimeout(FleetError, TimeoutError):
    """The fleet had not ended after `waited` seconds. It keeps running. `status` is its last status."""

    def __init__(self, status: FleetStatus, waited: float) -> None:
        super().__init__(status, waited)
        self.status = status
        self.waited = waited

    def __str__(self) -> str:
        return (
            f"{self.status.label} is in phase {self.status.phase} after {self.waited:g} s. The fleet "
            "keeps running: wait again, or cancel it."
        )


class ApiError(FleetError):
    """The app responded with an error.

    `status` is the HTTP status; `title` and `detail` are those of the problem document (RFC 9457), if
    there is one. `faults` lists what is wrong with a request: `pointer` (RFC 6901), `detail`.
    """

    advice = "Check the app's log."

    def __init__(
        self, status: int, title: str, detail: str, faults: Sequence[Mapping[str, str]] = ()
    ) -> None:
        super().__init__(status, title, detail, faults)
        self.status = status
        self.title = title
        self.detail = detail
        self.faults = [dict(fault) for fault in faults]

    def __str__(self) -> str:
        title = f"{self.title} ({self.status})."
        if self.faults:
            faults = [f"  {fault['pointer'] or '/'}: {fault['detail']}" for fault in self.faults]
            return "\n".join([title, *faults, self.advice])
        return " ".join(filter(None, [title, self.detail, self.advice]))


class RequestRefused(ApiError):
    """400 or 413: the request is invalid. `faults` lists every reason for a 400."""

    advice = "Nothing was started. Correct the request."


class Unauthorized(ApiError):
    """401 or 403: the app rejected the key, or the key does not permit the call."""

    advice = "Check the key (FLEET_KEY or --key-file), and that it is one of the app at FLEET_URL."


class NotFound(ApiError):
    """404: the fleet, VM or log does not exist, or no fleet app runs at the URL."""

    advice = "Check that FLEET_URL is the app that the fleet was submitted to."


class FleetAmbiguous(ApiError):
    """409: several fleets match. `detail` lists them."""

    advice = "Use one of these, or a longer prefix."


class FleetPurged(ApiError):
    """410: the app deleted the fleet's history after its retention period. Its list entry remains."""

    advice = "FleetClient.fleets() and `powerlift-fleet list` still include it."


class BatchTaken(ApiError):
    """409: the batch_id or the name was already used by a different request."""

    advice = "No fleet was started."


class RetryRefused(ApiError):
    """409: no trial of the fleet has failed, its experiment is in use, or its secrets are another's."""

    advice = "No fleet was started."


class TooManyVms(ApiError):
    """429: other fleets use the VMs that the deployment allows."""

    advice = "Wait until other fleets end, cancel one, or request fewer VMs."


class AppUnavailable(OutcomeUnknown, ApiError):
    """5xx, or 429 of the platform, after all retries."""

    advice = "Retry later. If it persists, ask the app's administrator."


class FleetCannotStart(FleetError):
    """The app's plan has faults; nothing was created. `faults` are its checks that failed."""

    def __init__(self, faults: Sequence[Check]) -> None:
        super().__init__(faults)
        self.faults = list(faults)

    def __str__(self) -> str:
        lines = [
            f"  {one.name}: {sentence(one.detail)} {one.advice}".rstrip() for one in self.faults
        ]
        return "\n".join(["The fleet cannot start. Nothing was created.", *lines])


class FleetEnded(FleetError):
    """The fleet ended without success. `status` is its last status."""

    def __init__(self, status: FleetStatus) -> None:
        super().__init__(status)
        self.status = status


class FleetFailed(FleetEnded):
    """The fleet failed, and its VMs were deleted."""

    def __str__(self) -> str:
        reason = self.status.reason
        why = (
            f": {reason.code}: {sentence(reason.message)} {reason.advice}".rstrip()
            if reason
            else "."
        )
        return "\n".join([f"{self.status.label} failed{why}", *_details(self.status)])


class AllTrialsFailed(FleetEnded):
    """The fleet is done, and no trial of its experiment has succeeded.

    `errors` has the first line of each error and how many trials had it, the most frequent first. It is
    empty if the app could not read them.
    """

    def __init__(self, status: FleetStatus, errors: Sequence[TrialError] = ()) -> None:
        super().__init__(status)
        self.args = (status, tuple(errors))
        self.errors = tuple(errors)

    def __str__(self) -> str:
        why = ""
        if self.errors:
            most, trials = self.errors[0], self.status.trials
            of = f" of {trials.total}" if trials else ""
            why = f" {most.count}{of} trials: {sentence(most.message)}"
        return (
            f"{self.status.label} is done, but every trial failed.{why} `powerlift-fleet status "
            f"{self.status.handle}` lists the errors; run.status(), or trial_status(store, NAME) of "
            "powerlift_fleet, has each trial's errmsg, with its traceback."
        )


class FleetTimedOut(FleetFailed):
    """The fleet failed because its `max_lifetime` passed with unfinished trials."""


class FleetCancelled(FleetEnded):
    """The fleet was cancelled, and its VMs were deleted."""

    def __str__(self) -> str:
        return "\n".join([f"{self.status.label} was cancelled.", *_details(self.status)])


def sentence(text: str) -> str:
    """A text after which another sentence may follow: Azure's and installers' have no full stop."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _details(status: FleetStatus) -> Iterator[str]:
    """The most frequent failures, without what the reason says, then the trials."""
    for failure in status.failures[:_LISTED_FAILURES]:
        is_reason = status.reason is not None and failure.code == status.reason.code
        message = "." if status.explains(failure) else f": {sentence(failure.message)}"
        action = f" Action taken: {failure.action}." if failure.action else ""
        advice = f" {failure.advice}" if failure.advice and not is_reason else ""
        yield f"  {failure.count} x {failure.code}{message}{action}{advice}"
    if (others := len(status.failures) - _LISTED_FAILURES) > 0:
        yield f"  … and {others} other kinds of failures"
    trials = status.trials
    if trials:
        left = trials.total - trials.ended
        can_run = status.reason is None or status.reason.code not in _OF_THE_EXPERIMENT
        yield (
            f"Trials: {trials.complete} of {trials.total} complete, {trials.error} failed, "
            f"{left} not run" + (": another fleet can run them." if left and can_run else ".")
        )
