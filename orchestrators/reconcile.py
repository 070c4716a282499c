"""Bringing what we know of the VMs and what Azure shows together: one look, and what follows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from activities.machines import delete_vm, inspect_vms, list_machines
from fleet.failures import explain, failure
from fleet.machines import NO_WORDS
from fleet.records import Failure
from fleet.state import FleetState
from orchestrators.patterns import Context, Ended, Steps, attempt, is_passing, settle
from orchestrators.wave import assign

INSPECTED_AT_ONCE = 10
ROLE_PATIENCE = timedelta(minutes=5)
"""How long an identity may stay unknown: mostly seconds; peers wait 2 to 5 minutes."""
BOOT_PATIENCE = timedelta(minutes=30)
"""Azure itself gives up on a guest after 20 to 40 minutes (OSProvisioningTimedOut)."""


def reconcile(context: Context, fleet: FleetState) -> Steps:
    """One look, and what follows from it; VMs that cannot come to work are given up."""
    yield from look(context, fleet)
    yield from give_up_roles(context, fleet)
    yield from give_up_boots(context, fleet)


def look(context: Context, fleet: FleetState) -> Steps:
    """One LIST; then whatever it allows or asks for: missing roles, and deleting VMs.

    VMs that failed are deleted before others stand in for them, and so are those that we do not
    want: Azure had accepted them, and its answer was lost, or their deletion was.
    """
    task = {"order": fleet.order, "unknown": fleet.unknown()}
    shown = yield from attempt(context, list_machines, task)
    if shown["ok"]:
        seen = fleet.see(shown["states"], shown["identities"])
        yield from replace_failed(context, fleet, seen.failed)
        note_lost(context, fleet, seen.vanished)
        yield from delete(context, fleet, seen.unwanted)
    else:
        fleet.note(shown["failure"], "looked again at the next tick")
    if fleet.unsettled() and not fleet.is_held(context.current_utc_datetime):
        yield from assign(context, fleet.order, fleet.unsettled())
        heed(context, fleet)


def heed(context: Context, fleet: FleetState) -> None:
    """Where Azure throttles one VM's role, the whole fleet goes slower."""
    for machine in fleet.unsettled():
        refusal, next_try = machine["refusal"], machine["next_try"]
        if refusal is not None and refusal["action"] == "wait" and next_try is not None:
            fleet.hold(datetime.fromisoformat(next_try))


def replace_failed(context: Context, fleet: FleetState, ordinals: list[int]) -> Steps:
    """Learn why Azure could not bring VMs up, and delete them."""
    reasons: dict[str, Failure] = {}
    for start in range(0, len(ordinals), INSPECTED_AT_ONCE):
        task = {"order": fleet.order, "ordinals": ordinals[start : start + INSPECTED_AT_ONCE]}
        result = yield from attempt(context, inspect_vms, task)
        reasons |= result["failures"] if result["ok"] else {}
    yield from delete(context, fleet, ordinals)
    for ordinal in ordinals:
        reason = reasons.get(str(ordinal)) or explain("ProvisioningFailed", NO_WORDS)
        fleet.doom([ordinal])
        fleet.fail(ordinal, reason, context.current_utc_datetime)


def note_lost(context: Context, fleet: FleetState, ordinals: list[int]) -> None:
    """VMs that went away before their work was done, by no hand of ours."""
    for ordinal in ordinals:
        machine = fleet.machines[ordinal]
        code = "SpotEvicted" if machine["place"]["priority"] == "Spot" else "VmLost"
        text = f"The VM {machine['name']} was there, and went before its work was done."
        fleet.fail(ordinal, explain(code, text), context.current_utc_datetime)


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
    yield from give_up(context, fleet, late, explain("BootTimedOut", text))


def give_up(context: Context, fleet: FleetState, ordinals: list[int], reason: Failure) -> Steps:
    """Delete VMs and say why. What the deletion misses is found by the next look, or by the teardown
    at the end.
    """
    yield from delete(context, fleet, ordinals)
    fleet.doom(ordinals)
    for ordinal in ordinals:
        fleet.fail(ordinal, reason, context.current_utc_datetime)


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
