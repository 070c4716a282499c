"""The role assignments of VMs: assigned once a VM has an identity, removed once it is deleted.

`orchestrators/role_assignment_order.py` decides on their order.
"""

from __future__ import annotations

import asyncio

import azure.durable_functions as df

from activities.results import never_raises
from fleet import telemetry
from fleet.azure import arm_bodies, role_assignments
from fleet.azure.client import Azure
from fleet.azure.credentials import open_connections
from fleet.azure.error_classifier import describe
from fleet.azure.role_assignments import Grant
from fleet.model import failure_policy, names
from fleet.model.activities import AssignPermissions, Ok, PermissionsAssigned, RevokePermissions
from fleet.model.order_parts import RoleOrder
from fleet.model.records import Failure

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def assign_permissions(task: AssignPermissions) -> PermissionsAssigned:
    """Try once to create the role assignments that a VM lacks; they do not depend on each other."""
    order, vm = task["order"], task["vm"]
    connection, _ = open_connections(order)
    wanted = role_assignments.grants_for_vm(order, vm["name"], vm["principal_id"] or "")
    if order.get("client_refused"):
        wanted.pop()
    missing = [index for index in range(len(wanted)) if index not in vm["assigned"]]
    failures = await asyncio.gather(
        *(_assign(connection, order, vm["name"], wanted[index]) for index in missing)
    )
    done = [index for index, failure in zip(missing, failures, strict=True) if failure is None]
    return {
        "ok": True,
        "assigned": sorted([*vm["assigned"], *done]),
        "failures": [failure for failure in failures if failure is not None],
    }


@bp.activity_trigger(input_name="task")
@never_raises
async def revoke_permissions(task: RevokePermissions) -> Ok:
    """Delete the role assignments of deleted VMs.

    Azure keeps them otherwise, and allows 4,000 in a subscription.
    """
    connection, _ = open_connections(task["order"])
    grants: list[Grant] = []
    for vm in task["vms"]:
        every = role_assignments.grants_for_vm(task["order"], vm["name"], vm["principal_id"] or "")
        grants += [every[index] for index in vm["assigned"]]
    await asyncio.gather(*(connection.delete_assignment(one.scope, one.name) for one in grants))
    return {"ok": True}


async def _assign(connection: Azure, order: RoleOrder, vm: str, grant: Grant) -> Failure | None:
    role = names.role_definition_id(order["subscription_id"], grant.role)
    description = role_assignments.description(order, vm)
    body = arm_bodies.role_assignment(role, grant.principal_id, grant.principal_type, description)
    try:
        await connection.put_assignment(grant.scope, grant.name, body)
    except Exception as error:  # one refusal must not hide the outcome of the others
        failure = describe(error)
        if grant.principal_id == order["client_principal_id"]:
            failure = role_assignments.client_refusal(failure) or failure
        if failure["code"] == "ResourceNotFound" and "/virtualMachines/" in grant.scope:
            # The VM may have deleted itself; the next LIST decides whether it has.
            failure = failure_policy.as_transient(failure)
        failure = {**failure, "scope": ""}  # it says nothing about the VM's placement
        telemetry.failed(failure, "A role could not be assigned")
        return None if failure_policy.is_done(failure) else failure
    return None
