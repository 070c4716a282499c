"""VMs and their NICs: create, list, inspect, delete."""

from __future__ import annotations

import asyncio
import contextlib

import azure.durable_functions as df
from azure.core.exceptions import HttpResponseError

from activities.results import never_raises, raises_transient
from fleet.azure import network_interfaces, virtual_machines, vm_lists
from fleet.azure.arm_bodies import Body
from fleet.azure.client import Azure
from fleet.azure.credentials import open_connections
from fleet.azure.error_classifier import code_of, explain
from fleet.azure.network_interfaces import ForeignNic
from fleet.model import names
from fleet.model.activities import (
    CreateVm,
    DeleteVm,
    ListVms,
    Ok,
    VmAccepted,
    VmOrdinals,
    VmsInspected,
    VmsListed,
)
from fleet.model.order_parts import FleetRef
from fleet.settings import Settings

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def create_vm(task: CreateVm) -> VmAccepted:
    """PUT a NIC and its VM. Returns as soon as Azure has accepted the VM.

    Both PUTs are idempotent: names and bodies depend only on the input.
    """
    order, request = task["order"], task["request"]
    ordinal, placement = request["ordinal"], request["placement"]
    connection, uri = open_connections(order)
    endpoint = Settings.read().resource_manager_endpoint
    body = virtual_machines.body(order, ordinal, placement, uri, endpoint)
    await network_interfaces.create(connection, order, ordinal, placement["location"])
    created = await _put_vm(connection, order, ordinal, body)
    return {"ok": True, "vm": virtual_machines.accepted(ordinal, created)}


@bp.activity_trigger(input_name="task")
@never_raises
async def delete_nics(task: VmOrdinals) -> Ok:
    """Try once to delete the NICs of VMs that Azure refused.

    Azure may reserve a NIC for 180 s, or have created its VM after all: those are left to the teardown
    and the sweep.
    """
    order = task["order"]
    connection, _ = open_connections(order)
    deletions = (
        network_interfaces.delete_own(connection, order, ordinal) for ordinal in task["ordinals"]
    )
    await asyncio.gather(*deletions, return_exceptions=True)
    return {"ok": True}


@bp.activity_trigger(input_name="task")
@raises_transient
async def inspect_vms(task: VmOrdinals) -> VmsInspected:
    """Why Azure failed to start VMs. Only an instance view says so, and Azure allows 12 GETs a minute
    for a VM, so this is for failed VMs only.
    """
    order, ordinals = task["order"], task["ordinals"]
    connection, _ = open_connections(order)
    views = await asyncio.gather(
        *(connection.instance_view(names.vm(order["batch_id"], ordinal)) for ordinal in ordinals)
    )
    errors = zip(ordinals, map(virtual_machines.failure_in, views), strict=True)
    failures = {str(ordinal): explain(*error) for ordinal, error in errors if error}
    return {"ok": True, "failures": failures}


@bp.activity_trigger(input_name="task")
@raises_transient
async def list_vms(task: ListVms) -> VmsListed:
    """One LIST for the whole fleet, whose VMs it knows by name, and for other fleets of the group. It
    returns identities only for `unidentified`, to keep the durable history small.
    """
    order = task["order"]
    connection, _ = open_connections(order)
    unidentified = set(task["unidentified"])
    found = await vm_lists.list_vms(connection, task.get("max_age", 0.0))
    listed: VmsListed = {"ok": True, "states": {}, "identities": {}}
    for ordinal, vm in found.fleets.get(order["batch_id"], {}).items():
        listed["states"].setdefault(vm.state, []).append(ordinal)
        if ordinal in unidentified:
            listed["identities"][str(ordinal)] = vm.principal_id, vm.created_at
    listed["age"], listed["group_size"] = found.age, found.size
    return listed


@bp.activity_trigger(input_name="task")
@never_raises
async def delete_vm(task: DeleteVm) -> Ok:
    """Start the deletion of a VM, its NIC and its disk. Skips another deployment's VM.

    A LIST shows VMs by name only, so the fleet cannot distinguish such a VM from one of its own
    that it has abandoned.
    """
    order, ordinal = task["order"], task["ordinal"]
    connection, _ = open_connections(order)
    with contextlib.suppress(ForeignNic):
        await network_interfaces.find_own(connection, order, ordinal)
        await connection.delete_machine(names.vm(order["batch_id"], ordinal))
    return {"ok": True}


async def _put_vm(connection: Azure, order: FleetRef, ordinal: int, body: Body) -> Body:
    name = names.vm(order["batch_id"], ordinal)
    try:
        return (await connection.put_machine(name, body)).body
    except HttpResponseError as error:
        if code_of(error) != "PropertyChangeNotAllowed":
            raise
        # An earlier run of this activity may have created it with another body (a rotated key, say).
        existing = await connection.get_machine(name)
        if existing is None or not virtual_machines.have_same_nic(existing.body, body):
            raise
        await network_interfaces.find_own(connection, order, ordinal)
        return existing.body
