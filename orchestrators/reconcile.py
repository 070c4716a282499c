"""Bringing what we know of the VMs and what Azure shows together: one look, and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from activities.logs import save_logs
from activities.vms import delete_vm, inspect_vms, list_vms
from fleet.model import failure_policy
from fleet.model.failure import NO_REASON, failure, vm_failure
from fleet.model.records import Failure, Machine
from fleet.model.state import FleetState
from orchestrators.patterns import Context, FleetEnded, Orchestration, attempt, settle
from orchestrators.snapshot import take_snapshot
from orchestrators.wave import assign

INSPECTED_AT_ONCE = KEPT_AT_ONCE = 10
ROLE_PATIENCE = timedelta(minutes=5)
"""How long an identity may stay unknown: mostly seconds; peers wait 2 to 5 minutes."""
ROLE_TRIES = 5
BOOT_PATIENCE = timedelta(minutes=30)
"""Azure itself gives up on a guest after 20 to 40 minutes (OSProvisioningTimedOut)."""


def reconcile(context: Context, fleet: FleetState) -> Orchestration:
    """One look, and what follows from it; VMs that cannot come to work are given up."""
    seen = yield from look(context, fleet)
    yield from give_up_roles(context, fleet)
    if seen:  # else a VM that runs may still seem to boot
        yield from give_up_boots(context, fleet)


def look(context: Context, fleet: FleetState) -> Orchestration:
    """One LIST; then whatever it allows or asks for: missing roles, and deleting VMs.

    VMs that failed are deleted before others stand in for them, and so are those that we do not
    want: Azure had accepted them, and its answer was lost, or their deletion was. Returns whether
    the LIST could be had.
    """
    now = context.current_utc_datetime
    if fleet.blind_until and now < datetime.fromisoformat(fleet.blind_until):
        return False
    task = {"order": fleet.order, "unknown": fleet.unknown()}
    shown = yield from attempt(context, list_vms, task, patient=False)
    if shown["ok"]:
        fleet.looked_at = context.current_utc_datetime.isoformat()
        seen = fleet.see(shown["states"], shown["identities"])
        yield from replace_failed(context, fleet, seen.failed)
        yield from note_vanished(context, fleet, seen.vanished)
        yield from delete(context, fleet, seen.unwanted)
    else:
        fleet.note(shown["failure"], "looked again at the next tick")
        wait = timedelta(seconds=shown["failure"]["retry_after"] or 0.0)
        fleet.blind_until = (context.current_utc_datetime + wait).isoformat()
    if fleet.unsettled() and not fleet.is_held(context.current_utc_datetime):
        yield from assign(context, fleet.order, fleet.unsettled())
        apply_throttling(context, fleet)
    return bool(shown["ok"])


def apply_throttling(context: Context, fleet: FleetState) -> None:
    """Where Azure throttles one VM's role, the whole fleet goes slower."""
    for machine in fleet.unsettled():
        refusal, next_try = machine["refusal"], machine["next_try"]
        if refusal is not None and failure_policy.is_throttled(refusal) and next_try is not None:
            fleet.hold(datetime.fromisoformat(next_try))


def replace_failed(context: Context, fleet: FleetState, ordinals: list[int]) -> Orchestration:
    """Learn why Azure could not bring VMs up, and delete them."""
    reasons: dict[str, Failure] = {}
    for start in range(0, len(ordinals), INSPECTED_AT_ONCE):
        task = {"order": fleet.order, "ordinals": ordinals[start : start + INSPECTED_AT_ONCE]}
        result = yield from attempt(context, inspect_vms, task)
        reasons |= result["failures"] if result["ok"] else {}
    unknown = vm_failure("ProvisioningFailed", NO_REASON)
    known = {ordinal: reasons.get(str(ordinal)) or unknown for ordinal in ordinals}
    yield from keep(context, fleet, known)
    yield from delete(context, fleet, ordinals)
    for ordinal, reason in known.items():
        fleet.mark_deleting([ordinal])
        fleet.fail(ordinal, reason, context.current_utc_datetime)


def note_vanished(context: Context, fleet: FleetState, ordinals: list[int]) -> Orchestration:
    """VMs that went before we had seen them run: lost, unless there was nothing left to do."""
    if not ordinals:
        return
    yield from take_snapshot(context, fleet, rounds=1)
    if fleet.trials is None or fleet.trials["ready"] > 0:
        note_lost(context, fleet, ordinals, ran=False)


def note_lost(context: Context, fleet: FleetState, ordinals: list[int], *, ran: bool) -> None:
    """VMs that went away before their work was done, by no hand of ours."""
    for ordinal in ordinals:
        machine = fleet.machines[ordinal]
        code = "SpotEvicted" if machine["placement"]["priority"] == "Spot" else "VmLost"
        text = f"The VM {machine['name']} was there, and went before its work was done."
        fleet.fail(ordinal, vm_failure(code, text), context.current_utc_datetime, ran=ran)


def give_up_roles(context: Context, fleet: FleetState) -> Orchestration:
    """A VM that cannot get the role to delete itself is deleted; other roles are only reported."""
    for machine in fleet.unsettled():
        reason = _why_no_role(fleet, machine, context.current_utc_datetime)
        if reason is None:
            continue
        machine["settled"] = True
        if 0 in machine["assigned"]:
            fleet.note(reason, "went on without this role")
        else:
            yield from give_up(context, fleet, [machine["ordinal"]], reason)


def _why_no_role(fleet: FleetState, machine: Machine, now: datetime) -> Failure | None:
    """Why a VM will not get its roles; None while it may.

    Given up is what Azure will never allow, and what it has refused for ROLE_PATIENCE and ROLE_TRIES:
    time in which Azure wants no writes, or in which we could not look, is not the VM's fault.
    """
    refusal, made = machine["refusal"], datetime.fromisoformat(machine["created_at"])
    if refusal is not None:
        may_pass = failure_policy.is_throttled(refusal) or now - made < ROLE_PATIENCE
        may_pass = may_pass or machine["tries"] < ROLE_TRIES
        return None if failure_policy.of(refusal).retried and may_pass else refusal
    looked = fleet.looked_at and datetime.fromisoformat(fleet.looked_at)
    if machine["principal_id"] or not looked or looked - made < ROLE_PATIENCE:
        return None
    text = f"Azure told no identity of the VM for {ROLE_PATIENCE}."
    return failure("IdentityNotKnown", text, "fail_machine", "Look at the VM's activity log.")


def give_up_boots(context: Context, fleet: FleetState) -> Orchestration:
    creating = [machine for machine in fleet.living() if machine["state"] == "creating"]
    late = _older(BOOT_PATIENCE, context.current_utc_datetime, creating)
    text = f"The VM did not run after {BOOT_PATIENCE}."
    yield from give_up(context, fleet, late, vm_failure("BootTimedOut", text))


def give_up(
    context: Context, fleet: FleetState, ordinals: list[int], reason: Failure
) -> Orchestration:
    """Delete VMs and say why. What the deletion misses is found by the next look, or by the teardown
    at the end.
    """
    yield from keep(context, fleet, dict.fromkeys(ordinals, reason))
    yield from delete(context, fleet, ordinals)
    fleet.mark_deleting(ordinals)
    for ordinal in ordinals:
        fleet.fail(ordinal, reason, context.current_utc_datetime)


def keep(context: Context, fleet: FleetState, reasons: Mapping[int, Failure]) -> Orchestration:
    """What VMs have said, before they are deleted: one try, since nothing depends on it."""
    machines = [{"ordinal": ordinal, "reason": reason} for ordinal, reason in reasons.items()]
    calls = [
        (save_logs, {"order": fleet.order, "machines": machines[start : start + KEPT_AT_ONCE]})
        for start in range(0, len(machines), KEPT_AT_ONCE)
    ]
    yield from settle(context, calls, rounds=1)


def delete(context: Context, fleet: FleetState, ordinals: list[int]) -> Orchestration:
    calls = [(delete_vm, {"order": fleet.order, "ordinal": ordinal}) for ordinal in ordinals]
    yield from settle(context, calls)


def check_deadline(context: Context, fleet: FleetState) -> None:
    """Raises FleetEnded when the deadline has passed, with trials open as far as we know."""
    if fleet.past_deadline(context.current_utc_datetime) and fleet.trials_left():
        text = f"The deadline {fleet.order['deadline']} passed with trials still open."
        advice = "Submit the rest as a new batch, with more VMs or a longer max_lifetime."
        raise FleetEnded("failed", failure("DeadlineReached", text, "fail_fleet", advice))


def _older(patience: timedelta, now: datetime, machines: list[Any]) -> list[int]:
    return [
        machine["ordinal"]
        for machine in machines
        if now - datetime.fromisoformat(machine["created_at"]) > patience
    ]
