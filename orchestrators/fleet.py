"""`run_fleet`: the one top-level orchestrator, from a request to the last deleted disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df

from activities.machines import delete_vm, list_machines
from activities.network import ensure_network
from activities.plan import plan_fleet
from activities.trials import release_trials
from fleet import names
from fleet.failures import failure
from fleet.records import Failure
from fleet.state import FleetState
from orchestrators.patterns import (
    CHUNK,
    Context,
    Ended,
    Steps,
    attempt,
    is_passing,
    settle,
    show,
    sleep_unless,
    told,
)
from orchestrators.teardown import teardown_fleet
from orchestrators.watch import watch
from orchestrators.wave import assign, create_wave

bp = df.Blueprint()

CANCEL = "cancel"
NETWORK_LOOKS = 60
ROLE_WAIT = 5.0
"""Seconds between two tries while every place of the window is taken."""
ROLE_PATIENCE = timedelta(minutes=5)
"""How long an identity may stay unknown: mostly seconds; peers wait 2 to 5 minutes."""
BOOT_PATIENCE = timedelta(minutes=30)
"""Azure itself gives up on a guest after 20 to 40 minutes (OSProvisioningTimedOut)."""


@bp.orchestration_trigger(context_name="context")
def run_fleet(context: Context) -> Steps:
    """An order (`fleet.records.Order`), or the state of one that goes on -> its summary.

    Two histories at least: one provisions, then one after the other watches (`continue_as_new`).
    """
    fleet = FleetState.read(context.get_input())
    cancel = context.wait_for_external_event(CANCEL)
    try:
        if fleet.phase == "plan":
            yield from provision(context, fleet, cancel)
            verdict = None
        else:
            verdict = yield from watch(context, fleet, cancel)
        if verdict is None:
            context.continue_as_new(fleet.write())
            return None
        phase, reason = verdict, None
    except Ended as ended:
        phase, reason = ended.phase, ended.reason
    except Exception as error:
        # A fault of ours. Whatever happens, what was made is deleted.
        phase, reason = "failed", told(error)
    return (yield from end(context, fleet, phase, reason))


def provision(context: Context, fleet: FleetState, cancel: Any) -> Steps:
    """Phases 1 to 4. Raises Ended where the fleet cannot go on."""
    yield from plan(context, fleet)
    yield from network(context, fleet, cancel)
    yield from create(context, fleet, cancel)
    yield from observe(context, fleet, cancel)
    if fleet.count("running", "gone") < fleet.order["min_instances"]:
        raise Ended("failed", too_few(fleet))
    fleet.provisioned_at = _utc(context.current_utc_datetime, "microseconds")
    show(context, fleet, "provisioned")


def plan(context: Context, fleet: FleetState) -> Steps:
    """Resolve what was left open; end the fleet, with every reason, when it cannot work."""
    now = context.current_utc_datetime
    order = fleet.order
    order["created_at"] = _utc(now, "microseconds")
    order["deadline"] = _utc(now + timedelta(seconds=order["max_lifetime"]), "seconds")
    show(context, fleet, "plan")
    result = yield from attempt(context, plan_fleet, {"order": order})
    reasons = result["faults"] if result["ok"] else [result["failure"]]
    for reason in reasons:
        fleet.note(reason, "refused the fleet; nothing was created")
    if reasons:
        raise Ended("failed", reasons[0])
    order["location"] = result["resolved"]["location"]
    order["ssh_public_key"] = result["resolved"]["ssh_public_key"]
    fleet.trials = result["trials"]


def network(context: Context, fleet: FleetState, cancel: Any) -> Steps:
    show(context, fleet, "network")
    for _ in range(NETWORK_LOOKS):
        result = yield from attempt(context, ensure_network, {"order": fleet.order})
        if not result["ok"]:
            fleet.note(result["failure"], "gave the fleet up")
            raise Ended("failed", result["failure"])
        if result["ready"]:
            return
        if (yield from sleep_unless(context, cancel, result["retry_after"])):
            raise Ended("cancelled")
    text = f"The virtual network was not ready after {NETWORK_LOOKS} looks."
    raise Ended("failed", failure("NetworkNotReady", text, "fail_fleet", "See its activity log."))


def create(context: Context, fleet: FleetState, cancel: Any) -> Steps:
    """Waves, until every VM was asked for; at most `max_undead` VMs ever lack a role."""
    show(context, fleet, "create")
    window, wave_number = min(fleet.order["max_undead"], CHUNK), 0
    while fleet.next_ordinal < fleet.order["n_instances"]:
        room = window - len(fleet.undead())
        if room <= 0:
            cancelled = yield from sleep_unless(context, cancel, ROLE_WAIT)
            yield from look(context, fleet)
        else:
            ordinals = fleet.take(room)
            task = {
                "order": fleet.order,
                "ordinals": ordinals,
                "prepared": fleet.prepared,
                "following": fleet.to_prepare(window),
                "pending": fleet.unsettled(),
            }
            failures = yield from run_wave(context, fleet, cancel, wave_number, task)
            wave_number += 1
            if failures == len(ordinals):
                break  # Azure refused a whole wave: asking on would only be refused again
            cancelled = cancel.is_completed
        yield from give_up_roles(context, fleet)
        show(context, fleet, "create")
        if cancelled:
            raise Ended("cancelled")


def run_wave(
    context: Context, fleet: FleetState, cancel: Any, number: int, task: dict[str, Any]
) -> Steps:
    """One `create_wave`; returns how many VMs it could not make. A cancel is seen, but the wave is
    awaited: what it makes must be known before it can be deleted.
    """
    name = names.wave_id(fleet.order["batch_id"], number)
    wave = context.call_sub_orchestrator(create_wave, task, name)
    yield context.task_any([wave] if cancel.is_completed else [cancel, wave])
    if not wave.is_completed:
        yield context.task_any([wave])
    if isinstance(wave.result, Exception):
        raise Ended("failed", told(wave.result))
    for machine in wave.result["machines"]:
        fleet.add(machine)
    for reason in wave.result["failures"]:
        fleet.note(reason, "gave this VM up")
    unused = [ordinal for ordinal in fleet.prepared if ordinal not in task["ordinals"]]
    fleet.prepared = [*unused, *wave.result["prepared"]]
    return len(wave.result["failures"])


def observe(context: Context, fleet: FleetState, cancel: Any) -> Steps:
    """One LIST per tick, until every VM runs with its roles, or has failed."""
    show(context, fleet, "observe")
    while fleet.count("creating") or fleet.unsettled():
        if (yield from sleep_unless(context, cancel, fleet.order["observe_seconds"])):
            raise Ended("cancelled")
        yield from look(context, fleet)
        yield from give_up_roles(context, fleet)
        yield from give_up_boots(context, fleet)
        show(context, fleet, "observe")


def look(context: Context, fleet: FleetState) -> Steps:
    """One LIST; then whatever it allows or asks for: missing roles, and deleting failed VMs."""
    task = {"order": fleet.order, "unknown": fleet.unknown()}
    seen = yield from attempt(context, list_machines, task)
    if seen["ok"]:
        failed = fleet.see(seen["states"], seen["identities"])
        reason = failure(
            "ProvisioningFailed",
            "Azure accepted the VM and then could not start it.",
            "fail_machine",
            "Look at the resource group's activity log; often there is no capacity.",
        )
        yield from give_up(context, fleet, failed, reason)
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
    if ordinals:
        calls = [(delete_vm, {"order": fleet.order, "ordinal": ordinal}) for ordinal in ordinals]
        yield from settle(context, calls)
        fleet.lost(ordinals)
        for _ in ordinals:
            fleet.note(reason, "deleted the VM")


def end(context: Context, fleet: FleetState, phase: str, reason: Failure | None) -> Steps:
    """Tear down what was made, give unfinished trials back, and say how it ended."""
    fleet.reason = reason
    touched = fleet.next_ordinal > 0
    if touched and not (phase == "done" and not fleet.order["delete_on_complete"]):
        show(context, fleet, "teardown")
        left = yield from tear_down(context, fleet)
        if left is not None:
            fleet.note(left, "left it to the next DELETE of this fleet")
            phase, fleet.reason = "failed", reason or left
        else:  # only now is it sure that no VM writes on
            for machine in fleet.living():
                machine["state"] = "gone"
            task = {"order": fleet.order, "ordinals": sorted(fleet.machines)}
            yield from attempt(context, release_trials, task)
    show(context, fleet, phase)
    return fleet.status()


def tear_down(context: Context, fleet: FleetState) -> Steps:
    """Run `teardown_fleet`; returns None, or a failure where something was left."""
    principals = [machine["principal_id"] for machine in fleet.machines.values()]
    task = {"order": fleet.order, "principals": [one for one in principals if one]}
    name = names.teardown_id(fleet.order["batch_id"])
    try:
        result = yield context.call_sub_orchestrator(teardown_fleet, task, name)
    except Exception as error:
        return told(error)
    if result["ok"]:
        return None
    text = f"Still there when we stopped looking: {result['left']}"
    return failure("LeftBehind", text, "fail_fleet", "DELETE the fleet again, or see the portal.")


def too_few(fleet: FleetState) -> Failure:
    """Why there are fewer VMs than `min_instances`: the most frequent failure, in its own words."""
    often = max(fleet.failures.items(), key=lambda item: item[1]["count"], default=None)
    text = f"{fleet.count('running', 'gone')} of {fleet.order['n_instances']} VMs came to run."
    if often is None:
        return failure("TooFewMachines", text, "fail_fleet", "See the app's log.")
    code, group = often
    return failure(code, f"{text} {group['message']}", "fail_fleet", group["advice"])


def _older(patience: timedelta, now: datetime, machines: list[Any]) -> list[int]:
    return [
        machine["ordinal"]
        for machine in machines
        if now - datetime.fromisoformat(machine["created_at"]) > patience
    ]


def _utc(moment: datetime, to_the: str) -> str:
    """ISO 8601 with a Z, as Azure writes times."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=to_the) + "Z"
