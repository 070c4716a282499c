"""Phase 1: resolve what the request left open, and refuse now what cannot work."""

from __future__ import annotations

import asyncio
from typing import Any

import azure.durable_functions as df
from azure.core.exceptions import AzureError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from activities.recorded import Json, opened, retried
from fleet import machines, trials
from fleet.azure import Azure
from fleet.failures import describe, failure
from fleet.records import Failure, Order
from fleet.startup import CustomDataTooLarge

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@retried
async def plan_fleet(task: Json) -> Json:
    """`{order}` -> `{resolved, trials, faults}`: what to put into the order, and every reason why not.

    Creates nothing. `resolved` holds `location` and `ssh_public_key`.
    """
    order: Order = task["order"]
    connection, uri = opened(order)
    (location, group_fault), (counts, database_fault) = await asyncio.gather(
        _location(connection, order), asyncio.to_thread(_trials, uri, order)
    )
    faults = [*group_fault, *database_fault, *_size_fault(order, uri)]
    resolved = {
        "location": location,
        "ssh_public_key": order["ssh_public_key"] or _public_key(),
    }
    return {"resolved": resolved, "trials": counts, "faults": faults}


async def _location(connection: Azure, order: Order) -> tuple[str | None, list[Failure]]:
    try:
        group = await connection.resource_group()
    except AzureError as error:
        fault = describe(error)
        if fault["action"] in ("wait", "retry"):
            raise  # it may pass: the orchestrator tries the whole plan again
        return None, [fault]
    return order["location"] or group["location"], []


def _trials(uri: str, order: Order) -> tuple[Any, list[Failure]]:
    try:
        counts = trials.count(uri, order["experiment_id"])
    except trials.DatabaseUnreachable as error:
        return None, [{**describe(error), "action": "fail_fleet"}]
    if counts is None:
        text = f"The database has no experiment {order['experiment_id']}."
        advice = "Create the experiment and its trials first."
        return None, [failure("ExperimentNotFound", text, "fail_fleet", advice)]
    return counts, []


def _size_fault(order: Order, uri: str) -> list[Failure]:
    try:
        machines.startup_data(order, 0, uri, "https://management.azure.com")
    except CustomDataTooLarge as error:
        return [
            failure("CustomDataTooLarge", str(error), "fail_fleet", "Shorten the request's uri.")
        ]
    return []


def _public_key() -> str:
    """A key whose private half is thrown away: Azure wants one, and nobody needs to log in.

    Whoever does gives `ssh_public_key`. RSA 2048: the least that every Azure image takes.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    encoded = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return encoded.decode()
