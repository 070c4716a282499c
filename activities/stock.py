"""Taking stock: the trials are counted, and what has come to pass with the VMs is noted."""

from __future__ import annotations

import asyncio

import azure.durable_functions as df

from activities.recorded import Json, opened, recorded
from fleet import ledger, telemetry, trials
from fleet.records import Order

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@recorded
async def take_stock(task: Json) -> Json:
    """`{order, machines, noted, at, counted, idle?}` -> `{trials}`: counts by state, or null when the
    experiment is gone.

    `machines` are records of VMs (`ledger.record`) as they stood `at` that time, and `noted` is how
    they stood when they were last noted (`state.standing`). `counted` are the trials of the last
    count, where what has changed since is to be told. Where `idle` is true there are two members
    more: `silent` and `done`, the ordinals of `ledger.Idle`.
    """
    order: Order = task["order"]
    _, uri = opened(order)
    counted = await asyncio.to_thread(trials.count, uri, order["experiment_id"])
    if task["machines"]:
        known = await asyncio.to_thread(ledger.write, uri, order, task["machines"], task["at"])
        for record, noted in zip(task["machines"], task["noted"], strict=True):
            earlier = (
                ledger.as_noted(record, noted) if known is None else known.get(record["ordinal"])
            )
            telemetry.machine_changed(order, record, earlier)
    if counted:
        telemetry.trials_counted(order, counted, task["counted"])
    if not task.get("idle"):
        return {"trials": counted}
    found = await asyncio.to_thread(ledger.idle, uri, order)
    return {"trials": counted, "silent": found.silent, "done": found.done}
