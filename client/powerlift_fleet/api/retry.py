"""Which attempts are repeated, when, and for how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from powerlift_fleet.api.wire import Answer, Silence

FIRST, LONGEST = 0.5, 20.0
"""Seconds of the first pause and of the longest, before jitter takes up to half of it away."""

PASSING = frozenset({429, 502, 503, 504})
"""Statuses that pass: too many calls, a host that restarts, a platform that moves it."""

TOLERATED_500 = 1
"""A 500 is a fault of the app's, or the host's while it shuts down: one more try tells them apart."""


class Retry:
    """The attempts at one request: `patience` is the seconds for all of them, pauses included.

    Exponential backoff with jitter, so that the clients of an app that restarts do not all come
    back at once. A Retry-After is honoured as it stands; one that ends after our patience ends it.
    """

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begin = clock()
        self._end = self._begin + patience
        self._faults = 0
        self.attempts = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the first attempt."""
        return self._clock() - self._begin

    def pause(self, outcome: Answer | Silence, known: bool) -> float | None:
        """Seconds until the next attempt; None when the outcome is to be taken as it is.

        `known` says whether the same call was answered before: then its address is right, and a 404
        that is not the app's own comes from a host that has not loaded it yet.
        """
        self.attempts += 1
        if not self._passes(outcome, known):
            return None
        asked = _retry_after(outcome) if isinstance(outcome, Answer) else None
        wait = self._backoff() if asked is None else asked
        return wait if self._clock() + wait < self._end else None

    def _passes(self, outcome: Answer | Silence, known: bool) -> bool:
        if isinstance(outcome, Silence):
            return not outcome.final and (known or not outcome.nameless)
        if outcome.status == 500:
            self._faults += 1
            return self._faults <= TOLERATED_500
        if outcome.status == 404:
            return known and not outcome.is_problem
        if outcome.status == 503 and outcome.is_problem:
            return "retry-after" in outcome.headers  # the app's own: a setting that is missing, say
        return outcome.status in PASSING

    def _backoff(self) -> float:
        whole = min(LONGEST, FIRST * 2.0 ** min(self.attempts - 1, 10))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 (jitter is no secret)


def _retry_after(answer: Answer) -> float | None:
    """Seconds; the header holds those, or a date (RFC 9110)."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        left = parsedate_to_datetime(value) - datetime.now(timezone.utc)
    except (TypeError, ValueError):
        return None
    return max(0.0, left.total_seconds())
