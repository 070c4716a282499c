"""What the command knows of a fleet at one moment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from powerlift_fleet.api.errors import ApiError, FleetUnreachable
from powerlift_fleet.api.responses import FleetStatus, Progress
from powerlift_fleet.cli.formatting import span

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient


@dataclass(frozen=True)
class Snapshot:
    status: FleetStatus
    progress: Progress | None = None
    unreachable_since: float | None = None
    """time.monotonic() of the first failed request, while the app does not respond."""
    error: str = ""

    @property
    def waiting(self) -> str:
        """Empty while the app responds."""
        if self.unreachable_since is None:
            return ""
        silence = span(time.monotonic() - self.unreachable_since)
        return f"Waiting for the app: no response for {silence}."


def take_snapshot(client: FleetClient, fleet: str) -> Snapshot:
    """Raises what `status` raises; an error of `progress` is ignored."""
    status = client.status(fleet)
    try:
        return Snapshot(status, client.progress(status.id))
    except (ApiError, FleetUnreachable):
        return Snapshot(status)
