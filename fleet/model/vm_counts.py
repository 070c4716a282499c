"""How many VMs of a fleet exist, how many are missing, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleet.model.costs import MAX_COST_REACHED
from fleet.model.records import State, VmCounts
from fleet.model.state import ENDING, FleetState

STARTING = frozenset({"plan", "network", "create", "boot"})


def missing(fleet: FleetState) -> dict[str, int]:
    """VMs that were wanted and do not exist, by the code of the failure that prevented them.

    VMs that were never requested count under the reason why no more are requested; while the fleet is
    starting, they do not count as missing. Once the fleet ends, so do those that waited for Azure's
    usual throttling, which is not reported as a failure.
    """
    counts = fleet.demand.left_out()
    unrequested = 0 if fleet.phase in STARTING else fleet.demand.unrequested
    if fleet.phase in ENDING:
        codes = [retry["code"] for retry in fleet.demand.retries]
        throttled = Counter(code for code in codes if code not in fleet.failures.by_code)
        counts -= throttled
        unrequested += throttled.total()
    if unrequested:
        counts[why_no_more(fleet)] += unrequested
    return dict(counts)


def why_no_more(fleet: FleetState) -> str:
    """The code of the reason why a fleet requests no more VMs."""
    if fleet.demand.stopped is not None:
        return fleet.demand.stopped["code"]
    if fleet.reason is not None:
        return fleet.reason["code"]
    if fleet.phase == "cancelled" or fleet.ended_in is not None:
        return "Cancelled"  # no other end has no reason
    cooldowns = fleet.placements.cooldowns
    if cooldowns:
        return max(cooldowns, key=lambda one: datetime.fromisoformat(one["since"]))["code"]
    return "AttemptsSpent" if fleet.retry_budget_is_spent() else "NoTrialsLeft"


def shown_state(vm: Mapping[str, Any]) -> State:
    """A VM's state as users see it: one that failed stays `failed` when it no longer exists. A VM that
    its fleet ended because it had no work has not failed.
    """
    state: State = vm["state"]
    if not vm["ended"] or state == "refused":
        return state
    was_idle = state == "deleted" and vm["ended"]["code"] == MAX_COST_REACHED
    return "deleted" if was_idle else "failed"


def vm_counts(fleet: FleetState) -> VmCounts:
    states = Counter(map(shown_state, fleet.vms.values()))
    unrequested = fleet.demand.unrequested if fleet.phase in STARTING else 0
    return {
        "wanted": fleet.order["n_instances"],
        "pending": unrequested + len(fleet.demand.in_flight),
        "accepted": sum(count["accepted"] for count in fleet.placements.counts.values()),
        "role_assigned": fleet.count_role_assigned(),
        "creating": states["creating"],
        "running": states["running"],
        "failed": states["failed"],
        "deleted": states["deleted"],
        "refused": states["refused"],
    }
