"""VMs: create, list, delete."""

from __future__ import annotations

import asyncio
from typing import Any

import azure.durable_functions as df
from azure.core.exceptions import HttpResponseError

from activities.recorded import Json, opened, recorded, retried
from fleet import bodies, machines, names
from fleet.azure import Azure
from fleet.bodies import Body
from fleet.records import Order
from fleet.settings import Settings

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@recorded
async def create_vm(task: Json) -> Json:
    """`{order, ordinal, has_nic}` -> `{machine}`, as soon as Azure has accepted the VM.

    Two PUTs, the NIC's (unless `prepare_nics` has made it) and the VM's, both repeatable: names and
    bodies depend on the input alone.
    """
    order: Order = task["order"]
    ordinal: int = task["ordinal"]
    connection, uri = opened(order)
    endpoint = Settings.read().resource_manager_endpoint
    body = machines.body(order, ordinal, uri, endpoint)
    if not task["has_nic"]:
        await _put_nic(connection, order, ordinal)
    name = names.machine(order["batch_id"], ordinal)
    return {"machine": machines.record(ordinal, await _put(connection, name, body))}


@bp.activity_trigger(input_name="task")
@recorded
async def prepare_nics(task: Json) -> Json:
    """`{order, ordinals}` -> `{prepared}`: NICs ahead of their VMs; which of them there are now.

    A refusal is not told: `create_vm` makes the NIC that is missing, and meets the answer itself.
    """
    order: Order = task["order"]
    connection, _ = opened(order)
    ordinals: list[int] = task["ordinals"]
    puts = (_put_nic(connection, order, ordinal) for ordinal in ordinals)
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    made = zip(ordinals, outcomes, strict=True)
    return {"prepared": [ordinal for ordinal, error in made if error is None]}


@bp.activity_trigger(input_name="task")
@retried
async def list_machines(task: Json) -> Json:
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
        states.setdefault(machines.provisioning_state(vm), []).append(ordinal)
        if ordinal in wanted:
            record = machines.record(ordinal, vm)
            identities[str(ordinal)] = [record["principal_id"], record["created_at"]]
    return {"states": states, "identities": identities}


@bp.activity_trigger(input_name="task")
@recorded
async def delete_vm(task: Json) -> Json:
    """`{order, ordinal}` -> `{}`: start the deletion of a VM, its NIC and its disk."""
    order: Order = task["order"]
    connection, _ = opened(order)
    await connection.delete_machine(names.machine(order["batch_id"], task["ordinal"]))
    return {}


async def _put_nic(connection: Azure, order: Order, ordinal: int) -> None:
    body = bodies.nic(order, ordinal, machines.subnet_id(order))
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
