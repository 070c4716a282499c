"""Taking stock: the trials are counted, and what has come to pass with the VMs is noted."""

from __future__ import annotations

import asyncio

import azure.durable_functions as df

from activities.results import Json, never_raises, opened
from fleet import telemetry
from fleet.azure.errors import describe
from fleet.model.records import Failure, Order
from fleet.store import heartbeats, trials, vm_records
from fleet.store.database import DatabaseUnreachable

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def record_snapshot(task: Json) -> Json:
    """`{order, machines, noted, at, counts, counted, idle?}` -> `{trials, unnoted}`: counts by state
    where `counts` is true, or null when the experiment is gone; and the Failure for which the VMs could
    not be noted, else null.

    `machines` are records of VMs (`records.stored`) as they stood `at` that time, and `noted` is how
    they stood when they were last noted (`state.standing`). `counted` are the trials of the last
    count, where what has changed since is to be told. Where `idle` is true there are two members
    more, unless it cannot be told now: `silent` and `done`, the ordinals of `heartbeats.Idle`.
    """
    order: Order = task["order"]
    _, uri = opened(order)
    counted = None
    if task["counts"]:
        counted = await asyncio.to_thread(trials.count, uri, order["experiment_id"])
    unnoted = await _note(uri, task) if task["machines"] else None
    if counted:
        telemetry.trials_counted(order, counted, task["counted"])
    idle = await _idle(uri, order) if task.get("idle") else {}
    return {"trials": counted, "unnoted": unnoted, **idle}


async def _note(uri: str, task: Json) -> Failure | None:
    """A database that can be read alone (a disk that is full makes it so) must not hide that all trials
    have ended: the VMs are for whoever watches, the count decides what the fleet does.
    """
    try:
        known = await asyncio.to_thread(
            vm_records.write, uri, task["order"], task["machines"], task["at"]
        )
    except DatabaseUnreachable as error:
        failure = describe(error)
        telemetry.failed(failure, "The VMs cannot be noted")
        return failure
    for record, noted in zip(task["machines"], task["noted"], strict=True):
        earlier = (
            vm_records.as_noted(record, noted) if known is None else known.get(record["ordinal"])
        )
        telemetry.machine_changed(task["order"], record, earlier)
    return None


async def _idle(uri: str, order: Order) -> Json:
    try:
        found = await asyncio.to_thread(heartbeats.idle, uri, order)
    except DatabaseUnreachable as error:
        telemetry.failed(describe(error), "Idle VMs cannot be told")
        return {}
    return {"silent": found.silent, "done": found.done}
