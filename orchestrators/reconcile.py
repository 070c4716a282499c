"""Reconcile the fleet's state with what Azure lists: one LIST, never a GET for each VM."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from activities.logs import save_logs
from activities.vms import delete_vm, inspect_vms, list_vms
from fleet.model.activities import (
    DeleteVm,
    Failed,
    FailedVm,
    ListVms,
    SaveLogs,
    VmOrdinals,
    VmsInspected,
    VmsListed,
)
from fleet.model.costs import MAX_COST_REACHED, money
from fleet.model.experiment_errors import EXIT_CODES
from fleet.model.failure import CLIENT_REFUSED, NO_REASON, failure, vm_failure
from fleet.model.order_parts import FleetRef, RoleOrder, part_of
from fleet.model.records import Failure
from fleet.model.state import FleetState
from orchestrators.patterns import (
    Context,
    FleetEnded,
    Orchestration,
    call_with_retry,
    chunks,
    settle,
)
from orchestrators.role_assignment_order import (
    assign_roles,
    due_for_roles,
    pause_if_throttled,
    why_given_up,
)
from orchestrators.snapshot import take_snapshot
from orchestrators.write_grants import granted_roles

VMS_PER_ACTIVITY = 10
BOOT_TIMEOUT = timedelta(minutes=30)
"""Azure itself gives up on a booting VM after 20 to 40 minutes (OSProvisioningTimedOut)."""


def reconcile(context: Context, fleet: FleetState, cancel: Any) -> Orchestration[None]:
    """Observe the VMs, assign missing roles, and give up VMs that cannot work."""
    listed = yield from observe(context, fleet)
    yield from assign_missing_roles(context, fleet, cancel)
    yield from give_up_roles(context, fleet)
    if listed:  # otherwise a VM that runs may still appear to boot
        yield from time_out_boots(context, fleet)


def observe(context: Context, fleet: FleetState) -> Orchestration[bool]:
    """List the VMs and act on what has changed. Returns whether the LIST succeeded.

    A VM is unwanted if Azure had accepted it and the answer was lost, or if its deletion was lost.
    """
    if fleet.observation.list_is_throttled(context.current_utc_datetime):
        return False
    unidentified = [vm["ordinal"] for vm in fleet.living_vms() if vm["principal_id"] is None]
    now = context.current_utc_datetime
    max_age = fleet.observation.max_age(now, poll_seconds(fleet))
    task: ListVms = {
        "order": part_of(fleet.order, FleetRef),
        "unidentified": unidentified,
        "max_age": max_age,
    }
    listed: VmsListed | Failed
    listed = yield from call_with_retry(context, list_vms, task, waits=False)
    now = context.current_utc_datetime
    if listed["ok"]:
        age, fleet.observation.group_size = listed.get("age", 0.0), listed.get("group_size", 0)
        changes = fleet.apply_list(listed["states"], listed["identities"], now, age)
        yield from replace_failed(context, fleet, changes.failed)
        yield from handle_vanished(context, fleet, changes.vanished)
        yield from delete_vms(context, fleet, changes.unwanted)
    else:
        fleet.failures.add(listed["failure"], "retried at the next poll")
        wait = timedelta(seconds=listed["failure"]["retry_after"] or 0.0)
        fleet.observation.next_list_at = (now + wait).isoformat()
    return listed["ok"]


def poll_seconds(fleet: FleetState) -> float:
    """Between two LISTs: with 50 VMs on a page, this uses half of Azure's 300 pages a minute."""
    vms = max(len(fleet.living_vms()), fleet.observation.group_size)
    return max(fleet.order["boot_poll_seconds"], vms / 50 * 0.4)


def replace_failed(
    context: Context, fleet: FleetState, ordinals: Sequence[int]
) -> Orchestration[None]:
    """Find out why Azure failed to start VMs, and delete them before they are replaced."""
    reasons: dict[str, Failure] = {}
    for part in chunks(ordinals, VMS_PER_ACTIVITY):
        task: VmOrdinals = {"order": part_of(fleet.order, FleetRef), "ordinals": list(part)}
        result: VmsInspected | Failed = yield from call_with_retry(context, inspect_vms, task)
        reasons |= result["failures"] if result["ok"] else {}
    unknown = vm_failure("ProvisioningFailed", NO_REASON)
    yield from delete_failed(
        context, fleet, {ordinal: reasons.get(str(ordinal)) or unknown for ordinal in ordinals}
    )


def handle_vanished(
    context: Context, fleet: FleetState, ordinals: Sequence[int]
) -> Orchestration[None]:
    """VMs that were deleted before a LIST showed them running are lost if there are trials left."""
    if not ordinals:
        return
    yield from take_snapshot(context, fleet, max_tries=1)
    yield from end_if_all_would_fail(context, fleet)
    if fleet.trials is None or fleet.trials["ready"] > 0:
        unexplained = [one for one in ordinals if fleet.vms[one]["ended"] is None]
        record_lost(context, fleet, unexplained, ran=False)


def end_if_all_would_fail(context: Context, fleet: FleetState) -> Orchestration[None]:
    """Act on the errors that VMs reported and that other VMs would meet as well: see
    `FleetState.fail_vm_of_experiment`. Deletes the VMs that would fail, if others can replace them.

    Raises FleetEnded if every VM would fail.
    """
    seen = fleet.observation
    errors, at_work = seen.experiment_errors, seen.at_work
    seen.experiment_errors, seen.at_work = [], []
    for error in errors:
        found = fleet.fail_vm_of_experiment(error, at_work, context.current_utc_datetime)
        if found is None:
            continue
        if found.ends_fleet:
            raise FleetEnded("failed", found.reason)
        yield from delete_failed(context, fleet, dict.fromkeys(found.doomed, found.reason))


def record_same_errors(context: Context, fleet: FleetState) -> None:
    """Record the VMs that the last snapshot found to have met the error that ended the fleet."""
    for error in fleet.observation.experiment_errors:
        if fleet.reason and fleet.reason["code"] == EXIT_CODES[error["exit_code"]].code:
            at_work = fleet.observation.at_work
            fleet.fail_vm_of_experiment(error, at_work, context.current_utc_datetime)


def record_lost(context: Context, fleet: FleetState, ordinals: Sequence[int], *, ran: bool) -> None:
    """Record VMs that were deleted, not by the fleet, before they finished."""
    for ordinal in ordinals:
        vm = fleet.vms[ordinal]
        if vm["placement"]["priority"] == "Spot":
            code, text = "SpotEvicted", f"Azure evicted Spot VM {vm['name']} before it finished."
        else:
            code, text = "VmLost", f"VM {vm['name']} was deleted before it finished."
        fleet.fail_vm(ordinal, vm_failure(code, text), context.current_utc_datetime, ran=ran)


def assign_missing_roles(context: Context, fleet: FleetState, cancel: Any) -> Orchestration[None]:
    """Try once to assign the missing roles that the write budget allows now. The next poll tries the
    others: a fleet that waited here would see neither its deadline nor its max_cost.
    """
    due = due_for_roles(fleet.vms_missing_roles(), context.current_utc_datetime)
    while due and not cancel.is_completed:
        granted = yield from granted_roles(context, fleet, due)
        if not granted or fleet.writes.paused_for(context.current_utc_datetime):
            return
        yield from assign_roles(context, part_of(fleet.order, RoleOrder), granted)
        pause_if_throttled(context, fleet)
        tried = [vm["ordinal"] for vm in granted]
        due = [vm for vm in due if vm["ordinal"] not in tried]


def give_up_roles(
    context: Context, fleet: FleetState, assigning: Container[int] = ()
) -> Orchestration[None]:
    """Delete VMs that cannot get the role to delete themselves; only report other missing roles.

    `assigning`: ordinals of VMs whose roles a wave assigns now.
    """
    for vm in fleet.vms_missing_roles():
        if vm["ordinal"] in assigning:
            continue
        reason = why_given_up(fleet, vm, context.current_utc_datetime)
        if reason is None:
            continue
        vm["roles_settled"] = True
        if 0 in vm["assigned"]:
            fleet.failures.add(reason, "continued without this role")
            if reason["code"] == CLIENT_REFUSED:
                fleet.order["client_refused"] = True
        else:
            yield from delete_failed(context, fleet, {vm["ordinal"]: reason})


def time_out_boots(context: Context, fleet: FleetState) -> Orchestration[None]:
    now = context.current_utc_datetime
    late = [
        vm["ordinal"]
        for vm in fleet.living_vms()
        if vm["state"] == "creating"
        and now - datetime.fromisoformat(vm["created_at"]) > BOOT_TIMEOUT
    ]
    reason = vm_failure("BootTimedOut", f"The VM did not start within {BOOT_TIMEOUT}.")
    yield from delete_failed(context, fleet, dict.fromkeys(late, reason))


def delete_failed(
    context: Context, fleet: FleetState, reasons: Mapping[int, Failure]
) -> Orchestration[None]:
    """Save the logs of VMs, delete them, and record why they failed, by ordinal."""
    yield from delete_with_logs(context, fleet, reasons)
    fleet.mark_deleting(reasons)
    for ordinal, reason in reasons.items():
        fleet.fail_vm(ordinal, reason, context.current_utc_datetime)


def delete_with_logs(
    context: Context, fleet: FleetState, reasons: Mapping[int, Failure]
) -> Orchestration[None]:
    """Save the logs of VMs and delete them, for reasons by ordinal.

    A deletion that fails is repeated after the next LIST, or by the teardown.
    """
    failed: list[FailedVm] = [
        {"ordinal": ordinal, "reason": reason} for ordinal, reason in reasons.items()
    ]
    order = part_of(fleet.order, FleetRef)
    tasks: list[SaveLogs] = [
        {"order": order, "vms": list(part)} for part in chunks(failed, VMS_PER_ACTIVITY)
    ]
    yield from settle(context, [(save_logs, task) for task in tasks], max_tries=1)
    yield from delete_vms(context, fleet, list(reasons))


def delete_vms(context: Context, fleet: FleetState, ordinals: Sequence[int]) -> Orchestration[None]:
    order = part_of(fleet.order, FleetRef)
    tasks: list[DeleteVm] = [{"order": order, "ordinal": ordinal} for ordinal in ordinals]
    yield from settle(context, [(delete_vm, task) for task in tasks])
    if tasks:
        fleet.observation.changed_at = context.current_utc_datetime.isoformat()


def check_deadline(context: Context, fleet: FleetState) -> None:
    """Raises FleetEnded if the deadline has passed and there are trials left."""
    if fleet.past_deadline(context.current_utc_datetime) and fleet.has_open_trials():
        text = f"The deadline {fleet.order['deadline']} passed with trials left."
        advice = "Submit the remaining trials again, with more VMs or a longer max_lifetime."
        raise FleetEnded("failed", failure("DeadlineReached", text, "fail_fleet", advice))


def check_cost(context: Context, fleet: FleetState) -> None:
    """Start to drain a fleet that comes close to its max_cost: no VM is created and no trial started.

    Raises FleetEnded if its VMs must be deleted now so as not to exceed it.
    """
    limit = fleet.order.get("max_cost")
    if limit is None or not fleet.has_open_trials():
        return
    now = context.current_utc_datetime
    step, spent = fleet.cost_step(now, poll_seconds(fleet)), fleet.spending(now)
    if step == "run" or not spent:
        return
    if fleet.drained is None:
        text = (
            f"The fleet has cost {money(spent.so_far)}. At {money(spent.per_hour)} per hour, it would "
            f"soon exceed its max_cost of {money(limit)}. It starts no more trials, and deletes its VMs "
            "when the running ones have finished, or when the limit requires it."
        )
        advice = "Submit the remaining trials again, with a higher max_cost or cheaper VMs."
        fleet.drained = failure(MAX_COST_REACHED, text, "fail_fleet", advice)
        fleet.demand.stopped = fleet.demand.stopped or fleet.drained
        fleet.failures.add(fleet.drained, "started no more trials")
    if step == "end":
        raise FleetEnded("failed", fleet.drained)
