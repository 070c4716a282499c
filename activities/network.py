"""A location's shared virtual network and subnet."""

from __future__ import annotations

import azure.durable_functions as df

from activities.results import raises_transient
from fleet.azure import arm_bodies
from fleet.azure.arm_pipeline import ArmResponse
from fleet.azure.client import Azure
from fleet.azure.credentials import open_connections
from fleet.azure.virtual_machines import provisioning_state
from fleet.model import names
from fleet.model.activities import EnsureNetwork, NetworkState

bp = df.Blueprint()

RETRY_AFTER = 3.0
"""Seconds to the next call if Azure does not say: what its network PUTs ask for."""


@bp.activity_trigger(input_name="task")
@raises_transient
async def ensure_network(task: EnsureNetwork) -> NetworkState:
    """GET first, PUT only what is absent. Called again until it is ready."""
    order = task["order"]
    if order["subnet_id"]:
        return {"ok": True, "ready": True, "retry_after": 0.0}
    connection, _ = open_connections(order)
    answer = await _ensure(connection, task["location"])
    state = provisioning_state(answer.body)
    if state == "Failed":
        raise TimeoutError(f"Network {answer.body['name']} failed to provision; retrying the PUT")
    retry_after = answer.retry_after or RETRY_AFTER
    return {"ok": True, "ready": state == "Succeeded", "retry_after": retry_after}


async def _ensure(connection: Azure, location: str) -> ArmResponse:
    vnet, subnet = names.vnet(location), names.subnet(location)
    existing = await connection.get_vnet(vnet)
    if existing is None or provisioning_state(existing.body) == "Failed":
        return await connection.put_vnet(vnet, arm_bodies.vnet(location))
    if provisioning_state(existing.body) != "Succeeded":
        return existing
    for found in existing.body["properties"].get("subnets", []):
        if found["name"].lower() == subnet.lower() and provisioning_state(found) != "Failed":
            return ArmResponse(found, existing.retry_after)
    return await connection.put_subnet(vnet, subnet, arm_bodies.subnet())
