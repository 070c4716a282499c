"""The phase run: poll the VMs and the trials, replace lost VMs, until all trials have ended."""

from __future__ import annotations

from datetime import datetime, timedelta

from activities.role_assignments import revoke_permissions
from activities.trials import drain_vms, release_trials
from fleet.model import regular_vms
from fleet.model.activities import (
    DrainVms,
    Failed,
    Ok,
    ReleaseTrials,
    RevokePermissions,
    TrialsReleased,
    VmsDraining,
)
from fleet.model.failure import UNRECOGNISED_LIMIT, failure
from fleet.model.order_parts import FleetRef, RoleOrder, part_of
from fleet.model.placement import label
from fleet.model.records import Failure, Vm, VmGrants
from fleet.model.state import FleetState
from fleet.model.vm_counts import why_no_more
from orchestrators.create import create_missing
from orchestrators.patterns import (
    MAX_TRIES,
    Context,
    FleetEnded,
    Orchestration,
    call_with_retry,
    chunks,
    publish_status,
    settle,
    sleep_unless,
)
from orchestrators.pipeline import Waves
from orchestrators.reconcile import (
    VMS_PER_ACTIVITY,
    check_cost,
    check_deadline,
    delete_failed,
    delete_vms,
    delete_with_logs,
    end_if_all_would_fail,
    poll_seconds,
    reconcile,
    record_lost,
)
from orchestrators.snapshot import take_snapshot

POLLS = 20
"""Per history: each adds a dozen events, and every step replays them all. A new history also publishes
the current VM records."""
GRACE = timedelta(minutes=10)
"""How long a VM may exist after the last trial: its role may take ten minutes to become effective."""
CHECK_LOG = "Check the VM's log, which is kept after its deletion."
OTHER_CPU = (
    "Allow more cpu_models, or choose a vm_size, zones or a location with fewer kinds of them."
)


def run(context: Context, fleet: FleetState, waves: Waves) -> Orchestration[bool]:
    """Returns whether the fleet is done; if not, it continues in a new history, or was cancelled.

    Raises FleetEnded if it ends with trials left.
    """
    publish_status(context, fleet, "run")
    for _ in range(POLLS):
        yield from reconcile(context, fleet, waves.cancel)
        counted = yield from count_and_clean_up(context, fleet)
        check_cost(context, fleet)
        if fleet.drained:
            yield from drain(context, fleet, fleet.drained)
        if not waves.cancel.is_completed:
            regular_vms.add(fleet)
            yield from create_missing(context, fleet, waves)
        publish_status(context, fleet, "run")
        check_deadline(context, fleet)
        if is_over(fleet, context.current_utc_datetime, counted):
            return True
        seconds = fleet.order["run_poll_seconds"]
        pause = max(seconds, poll_seconds(fleet))
        if (yield from sleep_unless(context, waves.cancel, pause, longest=seconds)):
            break
    return False


def count_and_clean_up(context: Context, fleet: FleetState) -> Orchestration[bool]:
    """Take a snapshot, end idle VMs, and clean up after deleted ones. Returns whether the trials were
    counted.
    """
    # With a max_cost, the next look must not wait for the database.
    tries = 1 if fleet.order.get("max_cost") else MAX_TRIES
    counted = yield from take_snapshot(context, fleet, tries)
    yield from end_if_all_would_fail(context, fleet)
    if fleet.has_open_trials():
        fleet.trials_ended_at = None  # trials may have been added
    elif fleet.trials_ended_at is None:
        fleet.trials_ended_at = context.current_utc_datetime.isoformat()
    yield from end_idle_vms(context, fleet)
    if fleet.observation.to_clean_up:
        yield from clean_up(context, fleet)
    return counted


def end_idle_vms(context: Context, fleet: FleetState) -> Orchestration[None]:
    """Replace the VMs without a heartbeat, whichever trial they run, and delete those that are done."""
    text = "The VM runs, but its script sends no heartbeat: it hangs, or never started."
    reason = failure("VmSilent", text, "replace", CHECK_LOG)
    silent = fleet.observation.silent_vms(fleet.vms)
    yield from delete_failed(context, fleet, dict.fromkeys(silent, reason))
    yield from delete_vms(context, fleet, fleet.observation.done)


def drain(context: Context, fleet: FleetState, reason: Failure) -> Orchestration[None]:
    """Let the VMs that run a trial finish it, and delete the others.

    Without the database, VMs cannot learn of it: they are deleted when `check_cost` ends the fleet.
    """
    living = [vm["ordinal"] for vm in fleet.living_vms()]
    order = part_of(fleet.order, FleetRef)
    task: DrainVms = {"order": order, "ordinals": living, "reason": reason["message"]}
    results: list[VmsDraining | Failed] = yield from settle(
        context, [(drain_vms, task)] if living else [], max_tries=1
    )
    for result in results:
        if result["ok"]:
            idle = [one for one in living if one not in result["busy"]]
            text = "The VM was idle when its fleet came close to its max_cost."
            why = failure(reason["code"], text, "fail_vm", reason["advice"])
            yield from delete_with_logs(context, fleet, dict.fromkeys(idle, why))
            fleet.end_idle_vms(idle, why, context.current_utc_datetime)
        else:
            fleet.failures.add(result["failure"], "retried at the next poll")


def clean_up(context: Context, fleet: FleetState) -> Orchestration[None]:
    """Delete the role assignments of deleted VMs, and requeue the trials that they held."""
    deleted = list(fleet.observation.to_clean_up)
    vms = [fleet.vms[ordinal] for ordinal in deleted]
    roles = [part_of(vm, VmGrants) for vm in vms if vm["principal_id"]]
    order = part_of(fleet.order, RoleOrder)
    tasks: list[RevokePermissions] = [
        {"order": order, "vms": list(part)} for part in chunks(roles, VMS_PER_ACTIVITY)
    ]
    results: list[Ok | Failed]
    results = yield from settle(context, [(revoke_permissions, task) for task in tasks])
    reasons = {str(vm["ordinal"]): _why_deleted(vm) for vm in vms}
    task: ReleaseTrials = {
        "order": part_of(fleet.order, FleetRef),
        "ordinals": deleted,
        "reasons": reasons,
    }
    released: TrialsReleased | Failed = yield from call_with_retry(context, release_trials, task)
    if released["ok"]:
        unexplained = [one for one in deleted if str(one) not in released["outcomes"]]
        lost = [one for one in unexplained if _was_lost(fleet, one, released["interrupted"])]
        record_lost(context, fleet, lost, ran=True)
        record_script_failures(context, fleet, released)
        regular_vms.count_released(fleet, released.get("failed", 0), released.get("waiting"))
    failures = [one["failure"] for one in (*results, released) if not one["ok"]]
    for reason in failures:
        fleet.failures.add(reason, "retried at the next poll")
    if not failures:
        left = [one for one in fleet.observation.to_clean_up if one not in deleted]
        fleet.observation.to_clean_up = left


def record_script_failures(context: Context, fleet: FleetState, released: TrialsReleased) -> None:
    """Record VMs whose script failed. They are not replaced, since the script would fail again, except
    for those that had the wrong processor.
    """
    now = context.current_utc_datetime
    for name, outcome in released["outcomes"].items():
        ordinal, vm = int(name), fleet.vms[int(name)]
        if outcome is None or vm["ended"] is not None:
            continue
        text = f"{vm['name']}: {outcome}"
        if ordinal in released.get("wrong_cpus", []):
            reason = failure("CpuModelRefused", text, "redraw", OTHER_CPU)
            fleet.fail_vm(ordinal, reason, now)
        else:
            fleet.fail_vm(
                ordinal, failure("ScriptFailed", text, "fail_vm", CHECK_LOG), now, ran=True
            )


def _why_deleted(vm: Vm) -> str:
    """For the results of the trial that the VM held."""
    name = f"{vm['name']} ({label(vm['placement'])})"
    ended = vm["ended"]
    if ended is None:
        return f"{name}, which was deleted without reporting a reason."
    return f"{name}: {ended['code']}: {ended['message']}"


def _was_lost(fleet: FleetState, ordinal: int, interrupted: list[int]) -> bool:
    """Whether a VM was deleted before it finished: it held a trial, or is a Spot VM that was deleted
    while trials were left.
    """
    vm = fleet.vms[ordinal]
    if vm["ended"] is not None:
        return False  # its failure is recorded
    trials_left = fleet.trials is not None and fleet.trials["ready"] > 0
    return ordinal in interrupted or (vm["placement"]["priority"] == "Spot" and trials_left)


def is_over(fleet: FleetState, now: datetime, counted: bool) -> bool:
    """Whether all trials have ended, or no VM will run those that are left.

    Raises FleetEnded in the latter case. It needs a count of trials made after the last VM was deleted;
    `counted`: whether there is one.
    """
    if counted and (reason := regular_vms.why_in_vain(fleet)):
        raise FleetEnded("failed", fleet.drained or reason)
    if not fleet.living_vms():
        if not fleet.has_open_trials():
            return True
        if fleet.can_retry() or not (counted or fleet.past_deadline(now)):
            return False
        raise FleetEnded("failed", fleet.drained or why_trials_left(fleet))
    if fleet.past_deadline(now) or fleet.cost_step(now, poll_seconds(fleet)) == "end":
        return True
    pending = fleet.observation.deleting or fleet.observation.to_clean_up
    if fleet.trials_ended_at is None or pending:
        return False
    lingers = now - datetime.fromisoformat(fleet.trials_ended_at) > GRACE
    return lingers or not fleet.order["delete_on_complete"]


def why_trials_left(fleet: FleetState) -> Failure:
    """Why every VM has ended although there are trials left: the most frequent failure that left a VM
    without a replacement.
    """
    text = "Every VM has ended, and there are trials left."
    if fleet.demand.replacements or fleet.demand.stopped:
        text += f" No replacement could be created: {why_no_more(fleet)}."
    left_out = fleet.demand.left_out()
    codes = [code for code in left_out if code in fleet.failures.by_code]
    if not codes:
        advice = "Check the experiment's script and packages; submit the remaining trials again."
        return failure("TrialsLeft", text, "fail_fleet", advice)
    code = max(codes, key=lambda one: left_out[one])
    cause = fleet.failures.by_code[code]
    message = f"{cause['message'].rstrip('.')}. {text}"
    return failure(code, message, "fail_fleet", cause["advice"], limit=UNRECOGNISED_LIMIT)
