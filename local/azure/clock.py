"""The simulated clock."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Counts simulated seconds from its creation. `scale` is wall seconds per simulated second."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._start = time.monotonic()

    def now(self) -> float:
        """Simulated seconds since the clock was made."""
        return (time.monotonic() - self._start) / self._scale

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` simulated seconds."""
        await asyncio.sleep(max(0.0, seconds) * self._scale)

    def wall_time_after(self, seconds: float) -> datetime:
        """The wall-clock time (UTC) in `seconds` simulated seconds."""
        return datetime.now(UTC) + timedelta(seconds=seconds * self._scale)

    def retry_after(self, seconds: float) -> str:
        """The Retry-After header for a simulated wait, in wall seconds.

        At least 1: clients read 0 as "no hint" and fall back to their own 30 s.
        """
        return str(max(1, math.ceil(seconds * self._scale)))


def timestamp() -> str:
    """The current wall-clock time in ARM's format. Clients compare it with their own clock."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
