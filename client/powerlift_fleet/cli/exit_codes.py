"""What the command's exit code says: one table, shown by `--help` and by docs/cli.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerlift_fleet.api.errors import (
    ApiError,
    AppUnavailable,
    BatchTaken,
    ConfigurationError,
    FleetCancelled,
    FleetError,
    FleetFailed,
    FleetUnreachable,
    NotFound,
    RequestRefused,
    Unauthorized,
)

OK, FAILED, USAGE, REFUSED, NOT_FOUND, UNAUTHORISED, UNAVAILABLE, CANCELLED = range(8)
INTERRUPTED = 130
"""As a shell has it for a program that Ctrl-C ended: 128 and the signal."""
PIPE_CLOSED = 141
"""Likewise, for a reader that has gone (`| head`)."""

MEANINGS = {
    OK: "all is well; a fleet that was looked at goes on, or is done",
    FAILED: "the fleet failed, or the plan has faults",
    USAGE: "the command or its settings are wrong",
    REFUSED: "the app refused the request, or its batch_id is taken",
    NOT_FOUND: "there is no such fleet, VM or log",
    UNAUTHORISED: "the app does not take the key",
    UNAVAILABLE: "the app cannot be reached, or cannot answer",
    CANCELLED: "the fleet was cancelled",
    INTERRUPTED: "Ctrl-C; a fleet goes on without us",
}

_ERRORS: tuple[tuple[type[FleetError], int], ...] = (
    (ConfigurationError, USAGE),
    (RequestRefused, REFUSED),
    (BatchTaken, REFUSED),
    (NotFound, NOT_FOUND),
    (Unauthorized, UNAUTHORISED),
    (FleetFailed, FAILED),
    (FleetCancelled, CANCELLED),
    (FleetUnreachable, UNAVAILABLE),
    (AppUnavailable, UNAVAILABLE),
    (ApiError, UNAVAILABLE),
)
"""First match wins: the last ones are the parents of others."""


def of_error(error: FleetError) -> int:
    return next((code for kind, code in _ERRORS if isinstance(error, kind)), UNAVAILABLE)


def of_fleet(status: Mapping[str, Any]) -> int:
    """What the phase of a fleet says."""
    return {"failed": FAILED, "cancelled": CANCELLED}.get(str(status.get("phase")), OK)
