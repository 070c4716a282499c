"""Phase 2: the region's shared virtual network and subnet."""

from __future__ import annotations

import azure.durable_functions as df

from activities.results import Json, opened, raises_transient
from fleet.azure import bodies
from fleet.azure.client import Answer, Azure
from fleet.azure.virtual_machines import provisioning_state
from fleet.model import names
from fleet.model.records import Order

bp = df.Blueprint()

RETRY_AFTER = 3.0
"""Seconds to the next look where Azure does not say: what its network PUTs ask for."""


@bp.activity_trigger(input_name="task")
@raises_transient
async def ensure_network(task: Json) -> Json:
    """`{order, location}` -> `{ready, retry_after}`: GET first, PUT only what is absent, shrink nothing.

    Called again until ready; each call looks at what is there, so it may run any number of times.
    """
    order: Order = task["order"]
    if order["subnet_id"]:
        return {"ready": True, "retry_after": 0.0}
    connection, _ = opened(order)
    answer = await _ensured(connection, task["location"])
    state = provisioning_state(answer.body)
    if state == "Failed":
        raise TimeoutError(f"the network {answer.body['name']} failed to provision; put again")
    return {"ready": state == "Succeeded", "retry_after": answer.retry_after or RETRY_AFTER}


async def _ensured(connection: Azure, location: str) -> Answer:
    vnet, subnet = names.vnet(location), names.subnet(location)
    standing = await connection.get_vnet(vnet)
    if standing is None or provisioning_state(standing.body) == "Failed":
        return await connection.put_vnet(vnet, bodies.vnet(location))
    if provisioning_state(standing.body) != "Succeeded":
        return standing
    for found in standing.body["properties"].get("subnets", []):
        if found["name"].lower() == subnet.lower() and provisioning_state(found) != "Failed":
            return Answer(found, standing.retry_after)
    return await connection.put_subnet(vnet, subnet, bodies.subnet())
