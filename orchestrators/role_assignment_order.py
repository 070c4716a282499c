"""The order in which VMs get their roles, and when a role is given up.

Roles are assigned in order of the VMs' creation times: a VM without its role cannot delete itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from activities.role_assignments import assign_permissions
from fleet.model import failure_policy
from fleet.model.activities import AssignPermissions, Failed, PermissionsAssigned
from fleet.model.failure import failure
from fleet.model.order_parts import RoleOrder, part_of
from fleet.model.records import Failure, RoleOutcome, Vm, VmGrants, VmRoles
from fleet.model.state import FleetState
from orchestrators.patterns import Context, Orchestration, backoff, settle

R = TypeVar("R", bound=VmRoles)

ROLE_TIMEOUT = timedelta(minutes=5)
"""How long an identity may stay unknown: usually seconds; other provisioners wait 2 to 5 minutes."""
MAX_ROLE_TRIES = 5


def assign_roles(context: Context, order: RoleOrder, vms: Iterable[VmRoles]) -> Orchestration[None]:
    """Try once to assign the missing roles of each VM, dispatched in order of creation time.

    Refused roles are retried in a later wave or poll, so that one slow identity delays no other VM. VMs
    whose identity is unknown are skipped. Updates the VMs in place.
    """
    due = due_for_roles(vms, context.current_utc_datetime)
    tasks: list[AssignPermissions] = [{"order": order, "vm": part_of(vm, VmGrants)} for vm in due]
    results = yield from settle(
        context, [(assign_permissions, task) for task in tasks], max_tries=1
    )
    now = context.current_utc_datetime  # Retry-After counts from Azure's answer
    for vm, result in zip(due, results, strict=True):
        _apply(vm, result, now)


def due_for_roles(
    vms: Iterable[R], now: datetime, created_before: datetime | None = None
) -> list[R]:
    """Those with an identity whose next try is due, in order of creation."""
    return in_order_of_creation(
        vm
        for vm in vms
        if _is_due(vm, now)
        and (created_before is None or datetime.fromisoformat(vm["created_at"]) < created_before)
    )


def merge_roles(vm: Vm, newer: RoleOutcome) -> None:
    """Take over what `assign_roles` has changed in a copy of the record."""
    vm["assigned"], vm["role_assigned_at"] = newer["assigned"], newer["role_assigned_at"]
    vm["roles_settled"], vm["role_failure"] = newer["roles_settled"], newer["role_failure"]
    vm["role_tries"], vm["next_role_try"] = newer["role_tries"], newer["next_role_try"]


def in_order_of_creation(vms: Iterable[R]) -> list[R]:
    """By (creation time, ordinal), with a heap. Times are compared as times, not as text."""
    heap = [(datetime.fromisoformat(vm["created_at"]), vm["ordinal"], vm) for vm in vms]
    heapq.heapify(heap)
    return [heapq.heappop(heap)[2] for _ in range(len(heap))]


def pause_if_throttled(context: Context, fleet: FleetState) -> None:
    """Azure throttles the subscription, so one throttled role pauses all writes of the fleet."""
    for vm in fleet.vms_missing_roles():
        reason, next_try = vm["role_failure"], vm["next_role_try"]
        if reason is not None and failure_policy.is_throttled(reason) and next_try is not None:
            fleet.writes.throttled_until(datetime.fromisoformat(next_try))


def why_given_up(fleet: FleetState, vm: Vm, now: datetime) -> Failure | None:
    """Why a VM will not get its roles; None while they are retried.

    Retries end after ROLE_TIMEOUT and MAX_ROLE_TRIES. Time during which Azure throttles writes, or LISTs
    fail, does not count.
    """
    reason, created_at = vm["role_failure"], datetime.fromisoformat(vm["created_at"])
    if reason is not None:
        retries_left = now - created_at < ROLE_TIMEOUT or vm["role_tries"] < MAX_ROLE_TRIES
        retried = failure_policy.of(reason).retried
        return None if failure_policy.is_throttled(reason) or (retried and retries_left) else reason
    listed_at = fleet.observation.listed_at
    if vm["principal_id"] or not listed_at:
        return None
    if datetime.fromisoformat(listed_at) - created_at < ROLE_TIMEOUT:
        return None
    text = f"Azure did not report the VM's identity within {ROLE_TIMEOUT}."
    return failure("IdentityNotKnown", text, "fail_vm", "Check the VM's activity log.")


def _is_due(vm: VmRoles, now: datetime) -> bool:
    if vm["principal_id"] is None:
        return False
    return vm["next_role_try"] is None or now >= datetime.fromisoformat(vm["next_role_try"])


def _apply(vm: VmRoles, result: PermissionsAssigned | Failed, now: datetime) -> None:
    if result["ok"]:
        vm["assigned"] = result["assigned"]
    refusals = result["failures"] if result["ok"] else [result["failure"]]
    vm["roles_settled"] = not refusals
    vm["role_failure"] = refusals[0] if refusals else None
    if 0 in vm["assigned"] and vm["role_assigned_at"] is None:
        vm["role_assigned_at"] = now.isoformat()
    if refusals:
        wait = max(refusals[0]["retry_after"] or 0.0, backoff(vm["role_tries"]))
        vm["next_role_try"] = (now + timedelta(seconds=wait)).isoformat()
        vm["role_tries"] += 1
