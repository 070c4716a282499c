"""What a VM's console has said, kept before the VM is deleted."""

from __future__ import annotations

import asyncio
from typing import Any

import azure.durable_functions as df

from activities.results import Json, never_raises, opened
from fleet import telemetry
from fleet.azure.client import Azure
from fleet.azure.errors import describe
from fleet.model import failure_policy, names
from fleet.model.records import Failure, Order
from fleet.store import vm_logs

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def save_logs(task: Json) -> Json:
    """`{order, machines: [{ordinal, reason}]}` -> `{kept}`: the VMs whose log could be had.

    `reason` is the Failure for which a VM is about to be deleted; it is kept too. A log that cannot be
    had is no failure: the deletion matters more.
    """
    order: Order = task["order"]
    connection, uri = opened(order)
    machines: list[dict[str, Any]] = task["machines"]
    kept = await asyncio.gather(*(_end_of(connection, order, **machine) for machine in machines))
    await asyncio.to_thread(vm_logs.keep, uri, order["experiment_id"], kept)
    return {"kept": sum(one.log is not None for one in kept)}


async def _end_of(connection: Azure, order: Order, ordinal: int, reason: Failure) -> vm_logs.Kept:
    name = names.machine(order["batch_id"], ordinal)
    log = None
    if not failure_policy.of(reason).moved:  # else Azure had no room: the VM has never been on
        try:
            log = await vm_logs.fetch(connection, name)
        except Exception as error:
            extra = {"event": "log.missed", "ordinal": ordinal, "code": describe(error)["code"]}
            telemetry.LOG.info("No log of %s is kept", name, extra=extra)
    outcome = f"{reason['code']}: {reason['message']}"
    return vm_logs.Kept(names.runner_id(order["batch_id"], ordinal), name, outcome, log)
