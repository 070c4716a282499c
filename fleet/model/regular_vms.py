"""VMs of regular priority, for trials that have each lost two VMs."""

from __future__ import annotations

from fleet.model.demand import RETRY_MARGIN, is_regular, open_trials, vms_due
from fleet.model.failure import failure
from fleet.model.placement import allows_regular
from fleet.model.records import Failure
from fleet.model.state import FleetState


def count_released(fleet: FleetState, failed: int, waiting: int | None) -> None:
    """Update the count of the trials: so many running ones were marked as failed, so many wait."""
    if waiting is not None:
        fleet.observation.waiting_trials = waiting
    if fleet.trials and failed:
        running, error = fleet.trials["running"] - failed, fleet.trials["error"] + failed
        fleet.trials = {**fleet.trials, "running": max(0, running), "error": error}


def add(fleet: FleetState) -> None:
    """Want VMs of regular priority for the trials that wait for one, in place of VMs that have ended.

    At most as many as the request's VMs, and RETRY_MARGIN more.
    """
    demand, living, waiting = fleet.demand, fleet.living_vms(), fleet.observation.waiting_trials
    if not waiting or demand.stopped or not allows_regular(fleet.order):
        return
    due = vms_due(waiting, fleet.trials, living)[0] - demand.pending()
    asked = fleet.order["n_instances"] - demand.added
    room = asked - len(living) - demand.pending()
    count = min(due, room, asked + RETRY_MARGIN - demand.added)
    if count > 0:
        demand.added += count
        demand.unrequested += count
        fleet.order["n_instances"] += count


def why_in_vain(fleet: FleetState) -> Failure | None:
    """Why no VM will run the trials that are left; None if one will, or may."""
    waiting, living = fleet.observation.waiting_trials, fleet.living_vms()
    if not waiting or not fleet.trials or open_trials(fleet.trials) > waiting:
        return None
    text = f"Trials left: {waiting}. Each has lost two VMs, and waits for one of regular priority, "
    advice = "Add a fallback with priority Regular, and submit the remaining trials again."
    makes_room = fleet.order["delete_on_complete"] or fleet.demand.pending()
    if not allows_regular(fleet.order):
        text += "which the request does not allow. They were left open."
    elif makes_room or any(map(is_regular, living)):
        return None
    else:
        text += (
            "which has no place: no other VM is deleted (delete_on_complete). They were left open."
        )
        advice = "Submit the remaining trials again, with priority Regular."
    return failure("RegularVmRequired", text, "fail_fleet", advice)
