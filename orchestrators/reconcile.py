"""Bringing what we know of the VMs and what Azure shows together: one look, and what follows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from activities.machines import delete_vm, list_machines
from fleet.failures import failure
from fleet.records import Failure
from fleet.state import FleetState
from orchestrators.patterns import Context, Ended, Steps, attempt, is_passing, settle
from orchestrators.wave import assign

ROLE_PATIENCE = timedelta(minutes=5)
"""How long an identity may stay unknown: mostly seconds; peers wait 2 to 5 minutes."""
BOOT_PATIENCE = timedelta(minutes=30)
"""Azure itself gives up on a guest after 20 to 40 minutes (OSProvisioningTimedOut)."""


def look(context: Context, fleet: FleetState) -> Steps:
    """One LIST; then whatever it allows or asks for: missing roles, and deleting VMs.

    VMs that failed are deleted, and so are those that we did not know of: Azure had accepted them,
    and its answer was lost. Both have been counted as failures.
    """
    task = {"order": fleet.order, "unknown": fleet.unknown()}
    seen = yield from attempt(context, list_machines, task)
    if seen["ok"]:
        failed, strangers = fleet.see(seen["states"], seen["identities"])
        reason = failure(
            "ProvisioningFailed",
            "Azure accepted the VM and then could not start it.",
            "fail_machine",
            "Look at the resource group's activity log; often there is no capacity.",
        )
        yield from give_up(context, fleet, failed, reason)
        yield from delete(context, fleet, strangers)
    else:
        fleet.note(seen["failure"], "looked again at the next tick")
    if fleet.unsettled():
        yield from assign(context, fleet.order, fleet.unsettled())


def give_up_roles(context: Context, fleet: FleetState) -> Steps:
    """A VM that cannot get the role to delete itself is deleted; other roles are only reported.

    Given up is what Azure will never allow, and what it has refused for ROLE_PATIENCE.
    """
    late = _older(ROLE_PATIENCE, context.current_utc_datetime, fleet.unsettled())
    for machine in fleet.unsettled():
        refusal = machine["refusal"]
        if machine["ordinal"] not in late and (refusal is None or is_passing(refusal)):
            continue
        reason = refusal or failure(
            "IdentityNotKnown",
            f"Azure told no identity of the VM for {ROLE_PATIENCE}.",
            "fail_machine",
            "Look at the VM's activity log.",
        )
        machine["settled"] = True
        if 0 in machine["assigned"]:
            fleet.note(reason, "went on without this role")
        else:
            yield from give_up(context, fleet, [machine["ordinal"]], reason)


def give_up_boots(context: Context, fleet: FleetState) -> Steps:
    creating = [machine for machine in fleet.living() if machine["state"] == "creating"]
    late = _older(BOOT_PATIENCE, context.current_utc_datetime, creating)
    text = f"The VM did not run after {BOOT_PATIENCE}."
    reason = failure("BootTimedOut", text, "fail_machine", "Check that the image fits the size.")
    yield from give_up(context, fleet, late, reason)


def give_up(context: Context, fleet: FleetState, ordinals: list[int], reason: Failure) -> Steps:
    """Delete VMs and say why. What the deletion misses is found by the teardown at the end."""
    yield from delete(context, fleet, ordinals)
    fleet.doom(ordinals)
    for _ in ordinals:
        fleet.note(reason, "deleted the VM")


def delete(context: Context, fleet: FleetState, ordinals: list[int]) -> Steps:
    calls = [(delete_vm, {"order": fleet.order, "ordinal": ordinal}) for ordinal in ordinals]
    yield from settle(context, calls)


def check_deadline(context: Context, fleet: FleetState) -> None:
    """Raises Ended when the deadline has passed, with trials open as far as we know."""
    if fleet.past_deadline(context.current_utc_datetime) and fleet.trials_left():
        text = f"The deadline {fleet.order['deadline']} passed with trials still open."
        advice = "Submit the rest as a new batch, with more VMs or a longer max_lifetime."
        raise Ended("failed", failure("DeadlineReached", text, "fail_fleet", advice))


def _older(patience: timedelta, now: datetime, machines: list[Any]) -> list[int]:
    return [
        machine["ordinal"]
        for machine in machines
        if now - datetime.fromisoformat(machine["created_at"]) > patience
    ]
