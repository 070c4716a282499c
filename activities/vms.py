"""VMs: create, list, delete."""

from __future__ import annotations

import asyncio
from typing import Any

import azure.durable_functions as df
from azure.core.exceptions import HttpResponseError

from activities.results import Json, never_raises, opened, raises_transient
from fleet import telemetry
from fleet.azure import bodies, virtual_machines
from fleet.azure.bodies import Body
from fleet.azure.client import Azure
from fleet.azure.errors import describe, explain
from fleet.model import failure_policy, names
from fleet.model.records import Order, VmRequest, not_accepted
from fleet.settings import Settings

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def create_vm(task: Json) -> Json:
    """`{order, assignment, has_nic}` -> `{machine}`, as soon as Azure has accepted the VM.

    Two PUTs, the NIC's (unless `create_nics` has made it) and the VM's, both repeatable: names and
    bodies depend on the input alone.
    """
    order: Order = task["order"]
    assignment: VmRequest = task["assignment"]
    ordinal, placement = assignment["ordinal"], assignment["placement"]
    connection, uri = opened(order)
    endpoint = Settings.read().resource_manager_endpoint
    body = virtual_machines.body(order, ordinal, placement, uri, endpoint)
    if not task["has_nic"]:
        await _put_nic(connection, order, ordinal, placement["location"])
    asked = not_accepted(order, assignment)
    return {
        "machine": virtual_machines.accepted(asked, await _put(connection, asked["name"], body))
    }


@bp.activity_trigger(input_name="task")
@never_raises
async def create_nics(task: Json) -> Json:
    """`{order, nics: [{ordinal, location}]}` -> `{prepared, retry_after}`: NICs ahead of their VMs;
    the ordinals of those there are now, and how many seconds Azure asked us to wait (or None).

    Another refusal is not told: `create_vm` makes the NIC that is missing, and meets it itself.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    nics: list[dict[str, Any]] = task["nics"]
    puts = (_put_nic(connection, order, nic["ordinal"], nic["location"]) for nic in nics)
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    made = zip(nics, outcomes, strict=True)
    failures = [describe(error) for error in outcomes if error is not None]
    waits = [one["retry_after"] or 0.0 for one in failures if failure_policy.is_throttled(one)]
    for one in failures:
        telemetry.failed(one, "A network interface cannot be made ahead")
    return {
        "prepared": [nic["ordinal"] for nic, error in made if error is None],
        "retry_after": max(waits, default=None),
    }


@bp.activity_trigger(input_name="task")
@never_raises
async def delete_nics(task: Json) -> Json:
    """`{order, ordinals}` -> `{}`: one try at the NICs of VMs that Azure has refused.

    A NIC may be reserved for 180 s, or belong to a VM that was made after all: those are left to
    the teardown and the sweep.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    names_ = [names.nic(order["batch_id"], ordinal) for ordinal in task["ordinals"]]
    await asyncio.gather(*map(connection.delete_nic, names_), return_exceptions=True)
    return {}


@bp.activity_trigger(input_name="task")
@raises_transient
async def inspect_vms(task: Json) -> Json:
    """`{order, ordinals}` -> `{failures}`: why Azure could not bring these VMs up, by ordinal.

    One GET of an instance view each, for VMs that have failed alone: Azure allows 12 a minute for
    one VM, and no list tells.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    ordinals: list[int] = task["ordinals"]
    views = await asyncio.gather(
        *(connection.instance_view(names.machine(order["batch_id"], one)) for one in ordinals)
    )
    found = zip(ordinals, map(virtual_machines.failure_in, views), strict=True)
    return {"failures": {str(ordinal): explain(*told) for ordinal, told in found if told}}


@bp.activity_trigger(input_name="task")
@raises_transient
async def list_vms(task: Json) -> Json:
    """`{order, unknown}` -> `{states, identities}`: one LIST for the whole fleet.

    `states` maps a provisioning state to the ordinals in it; `identities` gives `[principal_id,
    created_at]` of the ordinals in `unknown` alone, to keep the durable history small.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    wanted = set(task["unknown"])
    states: dict[str, list[int]] = {}
    identities: dict[str, Any] = {}
    for vm in await connection.list_machines(order["batch_id"]):
        ordinal = names.ordinal_of(vm["name"], order["batch_id"])
        if ordinal is None:
            continue
        states.setdefault(virtual_machines.provisioning_state(vm), []).append(ordinal)
        if ordinal in wanted:
            identities[str(ordinal)] = [
                virtual_machines.principal_id(vm),
                virtual_machines.created_at(vm),
            ]
    return {"states": states, "identities": identities}


@bp.activity_trigger(input_name="task")
@never_raises
async def delete_vm(task: Json) -> Json:
    """`{order, ordinal}` -> `{}`: start the deletion of a VM, its NIC and its disk."""
    order: Order = task["order"]
    connection, _ = opened(order)
    await connection.delete_machine(names.machine(order["batch_id"], task["ordinal"]))
    return {}


async def _put_nic(connection: Azure, order: Order, ordinal: int, location: str) -> None:
    body = bodies.nic(order, ordinal, location, virtual_machines.subnet_id(order, location))
    await connection.put_nic(names.nic(order["batch_id"], ordinal), body)


async def _put(connection: Azure, name: str, body: Body) -> Body:
    try:
        return (await connection.put_machine(name, body)).body
    except HttpResponseError as error:
        if getattr(error.error, "code", None) != "PropertyChangeNotAllowed":
            raise
        # Made by an earlier run of this very activity, in other words (a key was rotated, say).
        standing = await connection.get_machine(name)
        tags = {} if standing is None else standing.body.get("tags") or {}
        if standing is None or tags.get(names.BATCH_TAG) != body["tags"][names.BATCH_TAG]:
            raise
        return standing.body
