"""Phase 2: the network of a location, before the first VM there."""

from __future__ import annotations

from typing import Any

from activities.network import ensure_network
from fleet.model.failure import failure
from fleet.model.state import FleetState
from orchestrators.patterns import Context, FleetEnded, Orchestration, attempt, sleep_unless

LOOKS = 60


def ensure(context: Context, fleet: FleetState, cancel: Any, location: str) -> Orchestration:
    """Wait until the location's network is there; returns None, or why it is not (a Failure)."""
    if location in fleet.networks:
        return None
    task = {"order": fleet.order, "location": location}
    for _ in range(LOOKS):
        result = yield from attempt(context, ensure_network, task)
        if not result["ok"]:
            return result["failure"]
        if result["ready"]:
            fleet.networks.append(location)
            return None
        if (yield from sleep_unless(context, cancel, result["retry_after"])):
            raise FleetEnded("cancelled")
    text = f"The virtual network in {location} was not ready after {LOOKS} looks."
    return failure("NetworkNotReady", text, "fail_fleet", "See its activity log.")
