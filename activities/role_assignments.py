"""Role assignments of one VM: given once it has an identity, taken back once it is gone."""

from __future__ import annotations

import asyncio

import azure.durable_functions as df

from activities.results import Json, never_raises, opened
from fleet import telemetry
from fleet.azure import bodies, role_assignments
from fleet.azure.client import Azure
from fleet.azure.errors import describe
from fleet.azure.role_assignments import Grant
from fleet.model import failure_policy, names
from fleet.model.records import Failure, Machine, Order

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def assign_permissions(task: Json) -> Json:
    """`{order, machine}` -> `{assigned, failures}`: what stands now, and why the rest does not.

    Only what is not in the machine's `assigned` yet is sent. Grants depend on nothing in each other,
    so they are sent at once.
    """
    order: Order = task["order"]
    machine: Machine = task["machine"]
    connection, _ = opened(order)
    wanted = role_assignments.of_machine(order, machine["name"], machine["principal_id"] or "")
    todo = [index for index in range(len(wanted)) if index not in machine["assigned"]]
    role = names.role_definition_id(order["subscription_id"])
    about = role_assignments.description(order, machine["name"])
    failures = await asyncio.gather(
        *(_assign(connection, wanted[index], role, about) for index in todo)
    )
    done = [index for index, failed in zip(todo, failures, strict=True) if failed is None]
    return {
        "assigned": sorted([*machine["assigned"], *done]),
        "failures": [failed for failed in failures if failed is not None],
    }


@bp.activity_trigger(input_name="task")
@never_raises
async def revoke_permissions(task: Json) -> Json:
    """`{order, machines}` -> `{}`: take back what was assigned for VMs that are gone.

    Azure keeps role assignments of deleted principals, and allows 4,000 in a subscription.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    standing: list[Grant] = []
    for machine in task["machines"]:
        wanted = role_assignments.of_machine(order, machine["name"], machine["principal_id"])
        standing += [wanted[index] for index in machine["assigned"]]
    await asyncio.gather(*(connection.delete_assignment(g.scope, g.name) for g in standing))
    return {}


async def _assign(connection: Azure, grant: Grant, role: str, about: str) -> Failure | None:
    body = bodies.role_assignment(role, grant.principal_id, grant.principal_type, about)
    try:
        await connection.put_assignment(grant.scope, grant.name, body)
    except Exception as error:  # each grant has its own outcome: one refusal hides no other
        failure = describe(error)
        if failure["code"] == "ResourceNotFound" and "/virtualMachines/" in grant.scope:
            # The VM has ended while nobody looked: whether it is gone is for the next LIST to say.
            failure = failure_policy.as_transient(failure)
        telemetry.failed(failure, "A role cannot be given")
        return None if failure_policy.is_done(failure) else failure
    return None
