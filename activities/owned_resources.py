"""What a fleet has left in Azure: found by tag, name and description, deleted a few at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import azure.durable_functions as df

from activities.results import Json, never_raises, opened, raises_transient
from fleet import telemetry
from fleet.azure import owned_resources
from fleet.azure.bodies import Body
from fleet.azure.errors import describe
from fleet.azure.owned_resources import Kind, Leftover
from fleet.azure.virtual_machines import provisioning_state
from fleet.model import failure_policy
from fleet.model.records import Order

bp = df.Blueprint()

PER_LOOK = 100
"""Looks are ten seconds apart, and Azure refills ten deletions a second (a bucket of 200)."""


@bp.activity_trigger(input_name="task")
@raises_transient
async def list_owned_resources(task: Json) -> Json:
    """`{order, keep_machines}` -> `{delete, waiting, machines}`.

    `delete` lists up to PER_LOOK `{kind, name, scope?}` that can be deleted now (`leftovers.fairly`);
    `waiting` counts what goes by itself, or must wait for a VM or for its turn; `machines` the VMs
    that stand, those that are being deleted included. With `keep_machines` only NICs and disks
    without a VM are looked for, and `machines` is null.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    batch = order["batch_id"]
    nics, disks = await asyncio.gather(connection.list_nics(batch), connection.list_disks(batch))
    orphans = [_entry("disk", disk) for disk in disks if not disk.get("managedBy")]
    orphans += [_entry("nic", nic) for nic in nics if not nic["properties"].get("virtualMachine")]
    if task["keep_machines"]:
        return {**_first(orphans, len(orphans)), "machines": None}
    vms, assignments = await asyncio.gather(
        connection.list_machines(batch),
        owned_resources.list_assignments(connection, order["resource_uris"]),
    )
    mine = [one for one in assignments if owned_resources.is_of(one, order)]
    free = [_entry("machine", vm) for vm in vms if provisioning_state(vm) != "Deleting"]
    free += [{"kind": "assignment", "name": one.name, "scope": one.scope} for one in mine]
    everything = len(vms) + len(nics) + len(disks) + len(mine)
    return {**_first([*free, *orphans], everything), "machines": len(vms)}


@bp.activity_trigger(input_name="task")
@never_raises
async def delete_owned_resources(task: Json) -> Json:
    """`{order, resources: [{kind, name, scope?}]}` -> `{deleted, refused, retry_after}`: one try at
    each.

    `deleted` counts those whose deletion has begun, and those that were gone; `refused` the others,
    by code. `retry_after`: how many seconds Azure asked us to wait, None where it did not.
    """
    connection, _ = opened(task["order"])
    resources: list[Leftover] = task["resources"]
    outcomes = await asyncio.gather(
        *(owned_resources.delete(connection, resource) for resource in resources),
        return_exceptions=True,
    )
    refused = [describe(error) for error in outcomes if error is not None]
    _tell(len(outcomes) - len(refused), Counter(failure["code"] for failure in refused))
    waits = [failure["retry_after"] for failure in refused if failure_policy.is_throttled(failure)]
    return {
        "deleted": len(outcomes) - len(refused),
        "refused": Counter(failure["code"] for failure in refused),
        "retry_after": max((wait or 0.0 for wait in waits), default=None),
    }


def _tell(deleted: int, refused: Counter[str]) -> None:
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(refused.items())) or "none"
    text = "The teardown deletes %d; refused: %s"
    telemetry.LOG.info(text, deleted, codes, extra={"event": "teardown.deleted"})


def _first(free: list[Any], everything: int) -> dict[str, Any]:
    delete = owned_resources.fairly(free, PER_LOOK)
    return {"delete": delete, "waiting": everything - len(delete)}


def _entry(kind: Kind, resource: Body) -> Any:
    return {"kind": kind, "name": resource["name"]}
