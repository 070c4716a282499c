"""What a fleet has left in Azure: found by its tag and its names, deleted one by one."""

from __future__ import annotations

import asyncio
from typing import Any

import azure.durable_functions as df

from activities.recorded import Json, opened, recorded, retried
from fleet import names
from fleet.azure import Assignment, Azure
from fleet.bodies import Body
from fleet.machines import provisioning_state
from fleet.records import Order

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@retried
async def find_leftovers(task: Json) -> Json:
    """`{order, principals, keep_machines}` -> `{delete, waiting}`.

    `delete` lists `{kind, name, scope?}` that can be deleted now; `waiting` counts what goes by
    itself or must wait for a VM: VMs being deleted, NICs and disks of a VM that still is there. With
    `keep_machines` only NICs and disks without a VM are looked for.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    batch = order["batch_id"]
    vms, nics, disks, assignments = await asyncio.gather(
        connection.list_machines(batch),
        connection.list_nics(batch),
        connection.list_disks(batch),
        _assignments(connection, order, set(task["principals"])),
    )
    orphans = [_entry("nic", nic) for nic in nics if not nic["properties"].get("virtualMachine")]
    orphans += [_entry("disk", disk) for disk in disks if not disk.get("managedBy")]
    if task["keep_machines"]:
        return {"delete": orphans, "waiting": 0}
    delete = [_entry("machine", vm) for vm in vms if provisioning_state(vm) != "Deleting"]
    delete += orphans
    delete += [{"kind": "assignment", "name": a.name, "scope": a.scope} for a in assignments]
    everything = len(vms) + len(nics) + len(disks) + len(assignments)
    return {"delete": delete, "waiting": everything - len(delete)}


@bp.activity_trigger(input_name="task")
@recorded
async def delete_leftover(task: Json) -> Json:
    """`{order, resource: {kind, name, scope?}}` -> `{}`: start its deletion; absent is fine."""
    connection, _ = opened(task["order"])
    resource = task["resource"]
    match resource["kind"]:
        case "machine":
            await connection.delete_machine(resource["name"])
        case "nic":
            await connection.delete_nic(resource["name"])
        case "disk":
            await connection.delete_disk(resource["name"])
        case "assignment":
            await connection.delete_assignment(resource["scope"], resource["name"])
    return {}


async def _assignments(connection: Azure, order: Order, principals: set[str]) -> list[Assignment]:
    """Those at the batch's VMs, and its identities' at resource_uris (with no VM in their name)."""
    scopes = [None, *order["resource_uris"]]
    found = await asyncio.gather(*(connection.list_assignments(scope) for scope in scopes))
    kind = "Microsoft.Compute/virtualMachines"
    vms = names.resource_id(order["subscription_id"], order["resource_group"], kind, "")[:-1]
    mine: dict[tuple[str, str], Assignment] = {}
    for assignment in (item for page in found for item in page):
        place, _, vm = assignment.scope.rpartition("/")
        is_ours = names.ordinal_of(vm, order["batch_id"]) is not None
        if (is_ours and place.lower() == vms.lower()) or assignment.principal_id in principals:
            mine[assignment.scope.lower(), assignment.name] = assignment
    return list(mine.values())


def _entry(kind: str, resource: Body) -> dict[str, Any]:
    return {"kind": kind, "name": resource["name"]}
