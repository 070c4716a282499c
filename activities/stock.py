"""Taking stock: the trials are counted, and what has come to pass with the VMs is noted."""

from __future__ import annotations

import asyncio

import azure.durable_functions as df

from activities.recorded import Json, opened, recorded
from fleet import ledger, trials
from fleet.records import Order

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@recorded
async def take_stock(task: Json) -> Json:
    """`{order, machines, at, counted?, ended?, idle?}` -> `{trials}`: counts by state, or null when the
    experiment is gone.

    `machines` are records of VMs (`ledger.record`) as they stood `at` that time, `counted` is the
    count before, and `ended` the phase in which the fleet ends with this. Where `idle` is true there are
    two more: `silent` and `done`, the ordinals of `ledger.Idle`.
    """
    order: Order = task["order"]
    _, uri = opened(order)
    counted = await asyncio.to_thread(trials.count, uri, order["experiment_id"])
    if task["machines"]:
        await asyncio.to_thread(ledger.write, uri, order, task["machines"], task["at"])
    if not task.get("idle"):
        return {"trials": counted}
    found = await asyncio.to_thread(ledger.idle, uri, order)
    return {"trials": counted, "silent": found.silent, "done": found.done}
