"""Lists and deletes the Azure resources of a fleet, a few at a time."""

from __future__ import annotations

import asyncio
from collections import Counter

import azure.durable_functions as df

from activities.results import never_raises, raises_transient
from fleet import telemetry
from fleet.azure import owned_resources, ownership
from fleet.azure.arm_bodies import Body
from fleet.azure.credentials import open_connections
from fleet.azure.error_classifier import describe
from fleet.azure.virtual_machines import provisioning_state
from fleet.model import failure_policy
from fleet.model.activities import (
    DeleteOwnedResources,
    OwnedResources,
    OwnedResourcesDeleted,
    ResourceKind,
    ResourceRef,
    Teardown,
)

bp = df.Blueprint()

MAX_DELETIONS = 500
"""Deletions per LIST. A LIST has a page per 50 VMs, NICs and disks, so few of them must do."""


@bp.activity_trigger(input_name="task")
@raises_transient
async def list_owned_resources(task: Teardown) -> OwnedResources:
    """List the VMs, NICs and disks of a fleet by name, and its role assignments by description. Returns
    up to MAX_DELETIONS to delete. Skips what belongs to another deployment by the tags of a NIC, or of a
    disk without one.
    """
    order = task["order"]
    connection, _ = open_connections(order)
    batch = order["batch_id"]
    # VMs before NICs: by then every listed VM has its NIC, whose tags name the owner.
    listed = {} if task["keep_machines"] else await connection.list_batch("machine", batch)
    nics, disks = await asyncio.gather(
        connection.list_batch("nic", batch), connection.list_batch("disk", batch)
    )
    deciding = {**disks, **nics}
    foreign = {at for at, one in deciding.items() if ownership.is_foreign(one, order)}
    nics, disks = _without(nics, foreign), _without(disks, foreign)
    orphans = [_entry("disk", disk) for disk in disks.values() if not disk.get("managedBy")]
    orphans += [
        _entry("nic", nic) for nic in nics.values() if not nic["properties"].get("virtualMachine")
    ]
    if task["keep_machines"]:
        return _result(orphans, len(orphans), None)
    assignments = await owned_resources.list_assignments(connection, order["resource_uris"])
    vms = _without(listed, foreign)
    owned = [one for one in assignments if owned_resources.belongs_to(one, order, foreign)]
    free = [_entry("machine", vm) for vm in vms.values() if provisioning_state(vm) != "Deleting"]
    free += [{"kind": "assignment", "name": one.name, "scope": one.scope} for one in owned]
    total = len(vms) + len(nics) + len(disks) + len(owned)
    return _result([*free, *orphans], total, len(vms))


@bp.activity_trigger(input_name="task")
@never_raises
async def delete_owned_resources(task: DeleteOwnedResources) -> OwnedResourcesDeleted:
    """Try once to start the deletion of each resource."""
    connection, _ = open_connections(task["order"])
    outcomes = await asyncio.gather(
        *(owned_resources.delete(connection, resource) for resource in task["resources"]),
        return_exceptions=True,
    )
    failures = [describe(error) for error in outcomes if error is not None]
    deleted = len(outcomes) - len(failures)
    refused = Counter(failure["code"] for failure in failures)
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(refused.items())) or "none"
    extra = {"event": "teardown.deleted"}
    telemetry.LOG.info("The teardown deletes %d; refused: %s", deleted, codes, extra=extra)
    waits = [one["retry_after"] or 0.0 for one in failures if failure_policy.is_throttled(one)]
    retry_after = max(waits, default=None)
    return {"ok": True, "deleted": deleted, "refused": refused, "retry_after": retry_after}


def _without(resources: dict[int, Body], ordinals: set[int]) -> dict[int, Body]:
    return {ordinal: one for ordinal, one in resources.items() if ordinal not in ordinals}


def _entry(kind: ResourceKind, resource: Body) -> ResourceRef:
    return {"kind": kind, "name": resource["name"]}


def _result(free: list[ResourceRef], total: int, vms: int | None) -> OwnedResources:
    delete = owned_resources.sample_evenly(free, MAX_DELETIONS)
    waiting = total - len(delete)
    return {"ok": True, "delete": delete, "waiting": waiting, "machines": vms}
