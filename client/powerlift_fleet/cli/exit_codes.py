"""The exit codes, which `--help` and docs/cli.md list."""

from __future__ import annotations

from powerlift_fleet.api.errors import (
    BatchTaken,
    ConfigurationError,
    FleetAmbiguous,
    FleetCannotStart,
    FleetError,
    FleetPurged,
    NotFound,
    RequestRefused,
    RetryRefused,
    TooManyVms,
    Unauthorized,
)
from powerlift_fleet.api.responses import FleetStatus

OK, FAILED, USAGE, REFUSED, NOT_FOUND, UNAUTHORISED, UNAVAILABLE, CANCELLED = range(8)
TRIALS_FAILED, TIMED_OUT = 8, 9
INTERRUPTED = 130
"""128 + SIGINT, as in a shell."""
PIPE_CLOSED = 141
"""128 + SIGPIPE."""

MEANINGS = {
    OK: "success; the fleet is running, or done without a failed trial",
    FAILED: "the fleet failed, or cannot start: its plan has faults",
    USAGE: "invalid command, option or setting",
    REFUSED: "the app refused the request, or the batch_id or name is in use",
    NOT_FOUND: "the fleet, VM or log does not exist, or the fleet is ambiguous or purged",
    UNAUTHORISED: "the key is wrong, or does not permit the command",
    UNAVAILABLE: "the app is unreachable or failed",
    CANCELLED: "the fleet was cancelled",
    TRIALS_FAILED: "the fleet is done, but trials of its experiment failed: some or all",
    TIMED_OUT: "the fleet failed because its max_lifetime passed with unfinished trials",
    INTERRUPTED: "Ctrl-C; the fleet keeps running",
}

_ERRORS: dict[int, tuple[type[FleetError], ...]] = {
    USAGE: (ConfigurationError,),
    REFUSED: (RequestRefused, BatchTaken, RetryRefused, TooManyVms),
    NOT_FOUND: (NotFound, FleetAmbiguous, FleetPurged),
    UNAUTHORISED: (Unauthorized,),
    FAILED: (FleetCannotStart,),
}
"""Of the client; all others are UNAVAILABLE."""
_OUTCOMES = {
    "failed": FAILED,
    "cancelled": CANCELLED,
    "some_trials_failed": TRIALS_FAILED,
    "all_trials_failed": TRIALS_FAILED,
}


def of_error(error: FleetError) -> int:
    return next((code for code, kinds in _ERRORS.items() if isinstance(error, kinds)), UNAVAILABLE)


def of_fleet(status: FleetStatus) -> int:
    if status.is_timed_out:
        return TIMED_OUT
    return _OUTCOMES.get(status.outcome or status.phase, OK)
