"""Provisioning the virtual network of a location, before its first VM."""

from __future__ import annotations

from typing import Any

from activities.network import ensure_network
from fleet.model.activities import EnsureNetwork, Failed, NetworkState
from fleet.model.failure import failure
from fleet.model.order_parts import NetworkOrder, part_of
from fleet.model.placement import add, cooldown
from fleet.model.records import Failure, Placement
from fleet.model.state import FleetState
from orchestrators.patterns import (
    Context,
    FleetEnded,
    Orchestration,
    call_with_retry,
    sleep_unless,
)

MAX_POLLS = 60
COOLDOWN = 600.0
"""Seconds during which VMs are placed in other locations after a failure; as for a quota."""


def provision(
    context: Context, fleet: FleetState, cancel: Any, location: str
) -> Orchestration[Failure | None]:
    """Wait until the location's network is ready. Returns why it is not, or None."""
    if location in fleet.networks:
        return None
    task: EnsureNetwork = {
        "order": part_of(fleet.order, NetworkOrder),
        "location": location,
    }
    for _ in range(MAX_POLLS):
        result: NetworkState | Failed = yield from call_with_retry(context, ensure_network, task)
        if not result["ok"]:
            return result["failure"]
        if result["ready"]:
            fleet.networks.append(location)
            return None
        if (yield from sleep_unless(context, cancel, result["retry_after"])):
            raise FleetEnded("cancelled")
    text = f"The virtual network in {location} was not ready after {MAX_POLLS} polls."
    return failure("NetworkNotReady", text, "fail_fleet", "Check its activity log.")


def exclude(context: Context, fleet: FleetState, location: str, reason: Failure) -> None:
    """Place no VMs in a location whose network could not be provisioned, for COOLDOWN."""
    fleet.failures.add(reason, f"excluded {location}")
    reason = {**reason, "scope": "location", "cool_down": COOLDOWN}
    placement = Placement(location=location, zone=None, vm_size="", priority="")
    new = cooldown(placement, reason, {}, context.current_utc_datetime)
    fleet.placements.cooldowns = add(fleet.placements.cooldowns, new)
