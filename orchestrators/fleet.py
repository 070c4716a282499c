"""`run_fleet`: the one top-level orchestrator, from a request to the last deleted disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df

from activities.cancellation import was_cancelled
from activities.completion import report_completion
from activities.plan import plan_fleet
from fleet.model import names
from fleet.model.failure import failure
from fleet.model.records import Failure
from fleet.model.state import FleetState
from fleet.model.status import custom_status
from orchestrators import network
from orchestrators.create import boot, create, leave_out
from orchestrators.patterns import (
    Context,
    FleetEnded,
    Orchestration,
    attempt,
    failure_of,
    receive,
    settle,
    show,
)
from orchestrators.run import run
from orchestrators.snapshot import take_snapshot
from orchestrators.teardown import teardown_fleet

bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def run_fleet(context: Context) -> Orchestration:
    """An order (`fleet.model.records.Order`), or the state of one that goes on -> `{summary, machines}`.

    One history after the other (`continue_as_new`), so that none grows with the fleet's life.
    """
    fleet = FleetState.read(context.get_input())
    fleet.version = context.version
    cancel = context.wait_for_external_event(names.CANCEL_EVENT)
    try:
        yield from receive(context, cancel)
        if (yield from missed_cancel(context, fleet)):
            raise FleetEnded("cancelled")
        ended = yield from go_on(context, fleet, cancel)
        if cancel.is_completed:
            raise FleetEnded("cancelled")
        if not ended:
            context.continue_as_new(fleet.write())
            return None
        phase, reason = "done", None
    except FleetEnded as early:
        # Whatever else came to pass meanwhile: who has cancelled a fleet wants to read so.
        cancelled = cancel.is_completed
        phase, reason = ("cancelled", None) if cancelled else (early.phase, early.reason)
    except Exception as error:
        # A fault of ours. Whatever happens, what was made is deleted.
        phase, reason = "failed", failure_of(error)
    return (yield from end(context, fleet, phase, reason))


def missed_cancel(context: Context, fleet: FleetState) -> Orchestration:
    """Whether a cancel came while the fleet went on from the history before; see `mark_cancelled`."""
    if fleet.phase == "plan":
        return False
    task = {"batch_id": fleet.order["batch_id"], "since": fleet.order["created_at"]}
    asked = yield from attempt(context, was_cancelled, task)
    if not asked["ok"]:
        fleet.note(asked["failure"], "went on; press cancel again if you had pressed it")
    return asked["ok"] and asked["cancelled"]


def go_on(context: Context, fleet: FleetState, cancel: Any) -> Orchestration:
    """Phase after phase, as far as one history takes the fleet. Returns whether all is done; raises
    FleetEnded where the fleet cannot go on.
    """
    if cancel.is_completed:
        raise FleetEnded("cancelled")
    if fleet.phase == "plan":
        yield from plan(context, fleet)
        yield from home_network(context, fleet, cancel)
        show(context, fleet, "create")
    if fleet.phase == "create":
        if not (yield from create(context, fleet, cancel)):
            return False
        show(context, fleet, "boot")
    if fleet.phase == "boot":
        if (yield from boot(context, fleet, cancel)):
            fleet.provisioned_at = _utc(context.current_utc_datetime, "microseconds")
            show(context, fleet, "provisioned")
        return False
    return (yield from run(context, fleet, cancel))


def plan(context: Context, fleet: FleetState) -> Orchestration:
    """Resolve what was left open; end the fleet, with every reason, when it cannot work."""
    now = context.current_utc_datetime
    order = fleet.order
    order["created_at"] = _utc(now, "microseconds")
    order["deadline"] = _utc(now + timedelta(seconds=order["max_lifetime"]), "seconds")
    show(context, fleet, "plan")
    result = yield from attempt(context, plan_fleet, {"order": order})
    reasons = result["faults"] if result["ok"] else [result["failure"]]
    for reason in reasons:
        fleet.note(reason, "ended before anything was created")
    if reasons:
        raise FleetEnded("failed", reasons[0])
    resolved = result["resolved"]
    order["location"] = resolved["location"]
    order["ssh_public_key"] = resolved["ssh_public_key"]
    order["sizes"] = resolved["sizes"]
    order["n_instances"] = fleet.fresh = resolved["n_instances"]
    order["min_instances"] = min(order["min_instances"], order["n_instances"])
    fleet.trials = result["trials"]
    fleet.warnings = [
        f"{check['name']}: {check['detail'].rstrip('.')}. {check['advice']}".strip()
        for check in result["checks"]
        if check["status"] in ("warning", "unknown")
    ]


def home_network(context: Context, fleet: FleetState, cancel: Any) -> Orchestration:
    show(context, fleet, "network")
    reason = yield from network.ensure(context, fleet, cancel, fleet.order["location"] or "")
    if reason is None:
        return
    if not any(one.get("location") for one in fleet.order["fallbacks"]):
        fleet.note(reason, "gave the fleet up")
        raise FleetEnded("failed", reason)
    leave_out(context, fleet, fleet.order["location"] or "", reason)


def end(context: Context, fleet: FleetState, phase: str, reason: Failure | None) -> Orchestration:
    """Tear down what was made, which gives unfinished trials back, and say how it ended."""
    fleet.reason = reason
    if fleet.next_ordinal > 0:
        keep = phase == "done" and not fleet.order["delete_on_complete"]
        show(context, fleet, "teardown")
        left = yield from tear_down(context, fleet, keep)
        if left is not None and keep:
            # Not a failed fleet: of such a one, the sweep deletes what its user wants to keep.
            fleet.note(left, "left it there, with the VMs that are kept")
        elif left is not None:
            fleet.note(left, "left it to the next DELETE of this fleet")
            phase, fleet.reason = "failed", reason or left
    if fleet.machines:
        yield from take_snapshot(context, fleet, rounds=2, otherwise="ended with an older count")
    yield from tell(context, fleet, phase)
    show(context, fleet, phase)
    return {"summary": custom_status(fleet), "machines": list(fleet.machines.values())}


def tell(context: Context, fleet: FleetState, phase: str) -> Orchestration:
    """Have the end logged and measured; a fleet that nobody could hear of ends all the same."""
    now = _utc(context.current_utc_datetime, "microseconds")
    times = {"started_at": fleet.order.get("created_at", now), "ended_at": now}
    task = {"order": fleet.order, "phase": phase, "reason": fleet.reason, **times}
    yield from settle(context, [(report_completion, task)], rounds=1)


def tear_down(context: Context, fleet: FleetState, keep_machines: bool) -> Orchestration:
    """Run `teardown_fleet`; returns None, or a failure where something was left."""
    task = {"order": fleet.order, "keep_machines": keep_machines}
    name = names.teardown_id(fleet.order["batch_id"])
    try:
        result = yield context.call_sub_orchestrator(teardown_fleet, task, name)
    except Exception as error:
        return failure_of(error)
    if result["machines"] == 0:
        for machine in fleet.living():
            machine["state"] = "deleted"
        for machine in fleet.machines.values():
            if machine["deleted_at"] is None and machine["state"] != "refused":
                machine["deleted_at"] = context.current_utc_datetime.isoformat()
    if result["unreleased"]:
        fleet.note(result["unreleased"], "left trials marked as running")
    if result["ok"]:
        return None
    text = f"Still there when we stopped looking: {result['left']}"
    advice = "See the portal." if keep_machines else "DELETE the fleet again, or see the portal."
    return failure("LeftBehind", text, "fail_fleet", advice)


def _utc(moment: datetime, to_the: str) -> str:
    """ISO 8601 with a Z, as Azure writes times."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=to_the) + "Z"
