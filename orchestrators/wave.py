"""`create_wave` and `assign_wave`: the VMs, or the roles, of one wave.

They are orchestrations of their own, so that the fleet's history stays short.
"""

from __future__ import annotations

import azure.durable_functions as df

from activities.vms import create_vm, delete_nics
from fleet.model import failure_policy
from fleet.model.activities import (
    AssignWave,
    CreateVm,
    CreateWave,
    Failed,
    RolesAssigned,
    VmAccepted,
    VmOrdinals,
    WaveResult,
)
from fleet.model.order_parts import FleetRef, part_of
from fleet.model.records import Failure, RoleOutcome
from orchestrators.patterns import MAX_TRIES, Context, Orchestration, is_retried, settle
from orchestrators.role_assignment_order import assign_roles

bp = df.Blueprint()

OUTAGE_TRIES = 2
"""Tries of a VM's creation after which a failure counts as an outage."""


@bp.orchestration_trigger(context_name="context")
def create_wave(context: Context) -> Orchestration[WaveResult]:
    """Create the requested VMs, in one fan-out, and delete the NICs of those that Azure refuses."""
    task: CreateWave = context.get_input()
    order, requests = task["order"], task["requests"]
    tasks: list[CreateVm] = [{"order": order, "request": one} for one in requests]
    outcomes: list[VmAccepted | Failed]
    calls = [(create_vm, one) for one in tasks]
    outcomes = yield from settle(context, calls, retries=_is_retried_here)
    refusals = {
        request["ordinal"]: outcome["failure"]
        for request, outcome in zip(requests, outcomes, strict=True)
        if not outcome["ok"]
    }
    # The others are retried under the same ordinal.
    final = [one for one, why in refusals.items() if failure_policy.frees_ordinal(why)]
    if final:
        cleanup: VmOrdinals = {"order": part_of(order, FleetRef), "ordinals": final}
        yield from settle(context, [(delete_nics, cleanup)], max_tries=1)
    return {
        "vms": [outcome["vm"] for outcome in outcomes if outcome["ok"]],
        "refusals": [
            {"request": one, "failure": refusals[one["ordinal"]]}
            for one in requests
            if one["ordinal"] in refusals
        ],
    }


@bp.orchestration_trigger(context_name="context")
def assign_wave(context: Context) -> Orchestration[RolesAssigned]:
    """Try once to assign the missing roles of each VM, in order of creation time."""
    task: AssignWave = context.get_input()
    yield from assign_roles(context, task["order"], task["vms"])
    return {"vms": [part_of(vm, RoleOutcome) for vm in task["vms"]]}


def _is_retried_here(reason: Failure, tries: int) -> bool:
    """Throttling and outages concern all waves: the fleet pauses, and retries the VM later."""
    most = OUTAGE_TRIES if failure_policy.is_outage(reason) else MAX_TRIES
    return is_retried(reason, tries) and tries < most and not failure_policy.is_throttled(reason)
