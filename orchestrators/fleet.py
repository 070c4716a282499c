"""`run_fleet`: the one top-level orchestrator, from the plan to the teardown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df

from activities.cancellation import was_cancelled
from activities.completion import report_completion
from activities.plan import plan_fleet
from fleet.model import names
from fleet.model.activities import (
    CancelChecked,
    Failed,
    FleetPlanned,
    PlanFleet,
    ReportCompletion,
    Teardown,
    TeardownResult,
    WasCancelled,
)
from fleet.model.costs import dollars
from fleet.model.custom_status import custom_status
from fleet.model.failure import failure
from fleet.model.order_parts import RecordOrder, TeardownOrder, part_of
from fleet.model.records import Failure
from fleet.model.state import FleetState
from fleet.model.vm_counts import vm_counts
from fleet.model.vm_list import shortened
from orchestrators import network
from orchestrators.create import boot, create
from orchestrators.patterns import (
    Context,
    FleetEnded,
    Orchestration,
    call_with_retry,
    failure_of,
    publish_status,
    receive,
    settle,
)
from orchestrators.pipeline import Waves
from orchestrators.reconcile import record_same_errors
from orchestrators.run import run
from orchestrators.snapshot import take_snapshot
from orchestrators.teardown import teardown_fleet

bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def run_fleet(context: Context) -> Orchestration[Mapping[str, object] | None]:
    """Input: an `Order`, or `FleetState.write()` of the previous history. Output: `summary`,
    the custom status, and a `VmList`.

    A fleet runs in a chain of histories (`continue_as_new`), so that none grows with its lifetime.
    """
    fleet = FleetState.read(context.get_input())
    fleet.version = context.version
    cancel = context.wait_for_external_event(names.CANCEL_EVENT)
    waves = Waves(context, fleet, cancel)
    try:
        yield from receive(context, cancel)
        if (yield from missed_cancel(context, fleet)):
            raise FleetEnded("cancelled")
        done = yield from run_phases(context, fleet, waves)
        if cancel.is_completed:
            raise FleetEnded("cancelled")
        if not done:
            context.continue_as_new(fleet.write())
            return None
        phase, reason = "done", None
    except FleetEnded as ended:
        # Cancellation takes precedence over other outcomes.
        cancelled = cancel.is_completed
        phase, reason = ("cancelled", None) if cancelled else (ended.phase, ended.reason)
    except Exception as error:
        # A bug must not leak VMs either.
        phase, reason = "failed", failure_of(error)
    return (yield from finish(context, fleet, waves, phase, reason))


def missed_cancel(context: Context, fleet: FleetState) -> Orchestration[bool]:
    """Whether a cancel was raised between two histories; see `mark_cancelled`."""
    if fleet.phase == "plan":
        return False
    task: WasCancelled = {
        "batch_id": fleet.order["batch_id"],
        "since": fleet.order["created_at"],
    }
    result: CancelChecked | Failed = yield from call_with_retry(context, was_cancelled, task)
    if result["ok"]:
        return result["cancelled"]
    fleet.failures.add(result["failure"], "continued; if you cancelled the fleet, cancel it again")
    return False


def run_phases(context: Context, fleet: FleetState, waves: Waves) -> Orchestration[bool]:
    """Run as many phases as fit into this history. Returns whether the fleet is done.

    Raises FleetEnded if it ends early.
    """
    if waves.cancel.is_completed:
        raise FleetEnded("cancelled")
    if fleet.phase == "plan":
        yield from plan(context, fleet)
        yield from provision_home_network(context, fleet, waves.cancel)
        publish_status(context, fleet, "create")
    if fleet.phase == "create":
        if not (yield from create(context, fleet, waves)):
            return False
        publish_status(context, fleet, "boot")
    if fleet.phase == "boot":
        if (yield from boot(context, fleet, waves)):
            fleet.provisioned_at = _utc(context.current_utc_datetime, "microseconds")
            publish_status(context, fleet, "provisioned")
        return False
    return (yield from run(context, fleet, waves))


def plan(context: Context, fleet: FleetState) -> Orchestration[None]:
    """Resolve what the request left open. Raises FleetEnded if the fleet cannot work."""
    now = context.current_utc_datetime
    order = fleet.order
    order["created_at"] = _utc(now, "microseconds")
    order["deadline"] = _utc(now + timedelta(seconds=order["max_lifetime"]), "seconds")
    publish_status(context, fleet, "plan")
    task: PlanFleet = {"order": order}
    result: FleetPlanned | Failed = yield from call_with_retry(context, plan_fleet, task)
    reasons = result["faults"] if result["ok"] else [result["failure"]]
    for reason in reasons:
        fleet.failures.add(reason, "ended before anything was created")
    if reasons or not result["ok"]:
        raise FleetEnded("failed", reasons[0])
    resolved = result["resolved"]
    order["location"] = resolved["location"]
    order["ssh_public_key"] = resolved["ssh_public_key"]
    order["sizes"] = resolved["sizes"]
    # Absent in the result of an earlier build's plan.
    order["client_principal_id"] = resolved.get("client_principal_id", order["client_principal_id"])
    order["client_principal_type"] = resolved.get(
        "client_principal_type", order["client_principal_type"]
    )
    order["prices"] = resolved.get("prices", {})
    order["vm"] = {**order["vm"], "image": resolved.get("image", order["vm"]["image"])}
    order["n_instances"] = fleet.demand.unrequested = resolved["n_instances"]
    order["min_instances"] = min(order["min_instances"], order["n_instances"])
    fleet.trials = result["trials"]
    fleet.warnings = [
        f"{check['name']}: {check['detail'].rstrip('.')}. {check['advice']}".strip()
        for check in result["checks"]
        if check["status"] in ("warning", "unknown")
    ]


def provision_home_network(context: Context, fleet: FleetState, cancel: Any) -> Orchestration[None]:
    """Raises FleetEnded if the network fails and no fallback names another location."""
    publish_status(context, fleet, "network")
    home = fleet.order["location"] or ""
    reason = yield from network.provision(context, fleet, cancel, home)
    if reason is None:
        return
    if not any(one.get("location") for one in fleet.order["fallbacks"]):
        fleet.failures.add(reason, "stopped")
        raise FleetEnded("failed", reason)
    network.exclude(context, fleet, home, reason)


def finish(
    context: Context, fleet: FleetState, waves: Waves, phase: str, reason: Failure | None
) -> Orchestration[Mapping[str, object]]:
    """Tear the fleet down, take a last snapshot, and report the outcome."""
    fleet.reason = reason
    fleet.ended_in = None if phase == "done" else fleet.phase
    while waves.running:
        try:
            yield from waves.drain()
        except Exception as error:  # a bug must not prevent the teardown
            reported = error.reason if isinstance(error, FleetEnded) else None
            fleet.failures.add(reported or failure_of(error), "left the wave's VMs to the teardown")
        if waves.cancel.is_completed:
            phase, fleet.reason = "cancelled", None
    if fleet.demand.next_ordinal > 0:
        keep = phase == "done" and not fleet.order["delete_on_complete"]
        publish_status(context, fleet, "teardown")
        left = yield from tear_down(context, fleet, keep)
        if left is not None and keep:
            # Not `failed`: the sweep would delete the VMs that the user keeps.
            fleet.failures.add(left, "left it in place, with the VMs that are kept")
        elif left is not None:
            fleet.failures.add(left, "left it to the next DELETE of this fleet")
            phase, fleet.reason = "failed", reason or left
    if fleet.vms:
        yield from take_snapshot(context, fleet, 2, "reported the previous count of trials")
        record_same_errors(context, fleet)
    yield from report(context, fleet, phase)
    publish_status(context, fleet, phase)
    return {"summary": custom_status(fleet), **shortened(fleet.order, fleet.vms.values())}


def report(context: Context, fleet: FleetState, phase: str) -> Orchestration[None]:
    fleet.phase = phase  # of which the counts depend
    now = _utc(context.current_utc_datetime, "microseconds")
    spent = fleet.spending(context.current_utc_datetime)
    task: ReportCompletion = {
        "order": part_of(fleet.order, RecordOrder),
        "phase": phase,
        "counts": vm_counts(fleet),
        "trials": fleet.trials,
        "reason": fleet.reason,
        "started_at": fleet.order.get("created_at", now),
        "ended_at": now,
        "cost": spent and dollars(spent.so_far),
    }
    yield from settle(context, [(report_completion, task)], max_tries=1)


def tear_down(
    context: Context, fleet: FleetState, keep_machines: bool
) -> Orchestration[Failure | None]:
    """Run `teardown_fleet`. Returns a failure if it left something."""
    task: Teardown = {
        "order": part_of(fleet.order, TeardownOrder),
        "keep_machines": keep_machines,
    }
    name = names.teardown_id(fleet.order["batch_id"])
    try:
        result: TeardownResult = yield context.call_sub_orchestrator(
            teardown_fleet, task, name, expected_type=dict
        )
    except Exception as error:
        return failure_of(error)
    if result["machines"] == 0:
        for vm in fleet.living_vms():
            vm["state"] = "deleted"
        for vm in fleet.vms.values():
            if vm["deleted_at"] is None and vm["state"] != "refused":
                vm["deleted_at"] = context.current_utc_datetime.isoformat()
    if result["unreleased"]:
        fleet.failures.add(result["unreleased"], "left trials marked as running")
    if result["ok"]:
        return None
    text = f"The teardown could not delete: {result['left']}"
    advice = (
        "Check the portal." if keep_machines else "DELETE the fleet again, or check the portal."
    )
    return failure("LeftBehind", text, "fail_fleet", advice)


def _utc(moment: datetime, timespec: str) -> str:
    """ISO 8601 with a Z, as Azure writes times."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"
