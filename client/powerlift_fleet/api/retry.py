"""Which HTTP calls are retried, when, and for how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from powerlift_fleet.api.wire import ConnectionFailure, HttpResponse

FIRST_BACKOFF, MAX_BACKOFF = 0.5, 20.0
"""Seconds, before jitter removes up to half."""

TRANSIENT = frozenset({429, 502, 503, 504})

MAX_500_RETRIES = 1
"""The host answers 500 while it shuts down; a second 500 is the app's own fault."""


class Retry:
    """The attempts at one call, all within `timeout` seconds.

    Backoff is exponential, with jitter so that clients do not return in step. A Retry-After is honoured;
    one that exceeds the timeout ends the call.
    """

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begin = clock()
        self._end = self._begin + timeout
        self._internal_errors = 0
        self.attempts = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the first attempt."""
        return self._clock() - self._begin

    def backoff(self, outcome: HttpResponse | ConnectionFailure, seen: bool) -> float | None:
        """Seconds until the next attempt; None if the call must not be retried.

        `seen`: the call has succeeded before. Then the URL is right, and a 404 that the app did not
        write comes from a host that is still loading it.
        """
        self.attempts += 1
        if not self._is_transient(outcome, seen):
            return None
        retry_after = _retry_after(outcome) if isinstance(outcome, HttpResponse) else None
        seconds = self._exponential() if retry_after is None else retry_after
        return seconds if self._clock() + seconds < self._end else None

    def _is_transient(self, outcome: HttpResponse | ConnectionFailure, seen: bool) -> bool:
        if isinstance(outcome, ConnectionFailure):
            return not outcome.permanent and (seen or not outcome.unknown_host)
        if outcome.status == 500:
            self._internal_errors += 1
            return self._internal_errors <= MAX_500_RETRIES
        if outcome.status == 404:
            return seen and not outcome.is_problem
        if outcome.status == 503 and outcome.is_problem:
            return "retry-after" in outcome.headers  # without it: a missing setting, for example
        return outcome.status in TRANSIENT

    def _exponential(self) -> float:
        seconds = min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(self.attempts - 1, 10))
        return seconds * random.uniform(0.5, 1.0)  # noqa: S311 (jitter needs no secret)


def _retry_after(response: HttpResponse) -> float | None:
    """Seconds; the header has seconds or a date (RFC 9110)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        left = parsedate_to_datetime(value) - datetime.now(timezone.utc)
    except (TypeError, ValueError):
        return None
    return max(0.0, left.total_seconds())
