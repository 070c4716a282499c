"""Simulated time: the one place that knows how fast it runs."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Simulated seconds since the start. A wait of d of them takes d * scale wall seconds."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._start = time.monotonic()

    def now(self) -> float:
        """Simulated seconds since the clock was made."""
        return (time.monotonic() - self._start) / self._scale

    async def sleep(self, seconds: float) -> None:
        """Wait for so many simulated seconds."""
        await asyncio.sleep(max(0.0, seconds) * self._scale)

    def ahead(self, seconds: float) -> datetime:
        """The wall-clock time (UTC) after so many simulated seconds."""
        return datetime.now(UTC) + timedelta(seconds=seconds * self._scale)

    def retry_after(self, seconds: float) -> str:
        """The Retry-After header for a simulated wait, in wall seconds.

        Never below 1: clients read 0 as "no hint" and fall back to their own 30 s.
        """
        return str(max(1, math.ceil(seconds * self._scale)))


def timestamp() -> str:
    """The time as ARM writes it. Wall-clock time, since clients compare it with their own."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
