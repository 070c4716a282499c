"""A location's shared virtual network, subnet and security group."""

from __future__ import annotations

import azure.durable_functions as df

from activities.results import raises_transient
from fleet.azure import arm_bodies
from fleet.azure.arm_bodies import Body
from fleet.azure.arm_pipeline import ArmResponse
from fleet.azure.client import Azure
from fleet.azure.credentials import open_connections
from fleet.azure.virtual_machines import provisioning_state
from fleet.model import names
from fleet.model.activities import EnsureNetwork, NetworkState

bp = df.Blueprint()

RETRY_AFTER = 3.0
"""Seconds until the next call without a Retry-After: the value that Azure sends for network PUTs."""


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
    """The subnet, or what must be ready before it: the security group, then the network."""
    vnet, subnet = names.vnet(location), names.subnet(location)
    existing = await connection.get_vnet(vnet)
    if existing and provisioning_state(existing.body) not in ("Succeeded", "Failed"):
        return existing
    found = _find(existing, subnet)
    if existing and found and _is_secured(found):
        return ArmResponse(found, existing.retry_after)
    group = await _ensure_security_group(connection, location)
    if provisioning_state(group.body) != "Succeeded":
        return group
    group_id = group.body["id"]
    if existing is None or provisioning_state(existing.body) == "Failed":
        return await connection.put_vnet(vnet, arm_bodies.vnet(location, group_id))
    if found is None:
        return await connection.put_subnet(vnet, subnet, arm_bodies.subnet(group_id))
    # Created by an earlier version of the app. Another client may change it concurrently.
    body = arm_bodies.secured_subnet(found, group_id)
    return await connection.put_subnet(vnet, subnet, body, found.get("etag"))


async def _ensure_security_group(connection: Azure, location: str) -> ArmResponse:
    name = names.security_group(location)
    existing = await connection.get_security_group(name)
    if existing and provisioning_state(existing.body) != "Failed":
        return existing
    return await connection.put_security_group(name, arm_bodies.security_group(location))


def _find(vnet: ArmResponse | None, name: str) -> Body | None:
    subnets = vnet.body["properties"].get("subnets", []) if vnet else []
    return next((one for one in subnets if one["name"].lower() == name.lower()), None)


def _is_secured(subnet: Body) -> bool:
    group = subnet["properties"].get("networkSecurityGroup")
    return bool(group) and provisioning_state(subnet) != "Failed"
