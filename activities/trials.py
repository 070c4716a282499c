"""Powerlift's trials: giving back those of VMs that are gone."""

from __future__ import annotations

import asyncio

import azure.durable_functions as df

from activities.results import Json, opened, raises_transient
from fleet.model import names
from fleet.model.records import Order
from fleet.model.state import SHOWN_CHARACTERS
from fleet.store import heartbeats, trials

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@raises_transient
async def release_trials(task: Json) -> Json:
    """`{order, ordinals, reasons}` -> `{held, quit}`: open trials of VMs that are gone are queued again.

    `ordinals` null: of every VM that the batch can have had. `reasons` says, by ordinal, why a VM is
    gone, or is null where that is not to be held against its trial (`trials.release`). `held` are the
    ordinals of the VMs that had one, `quit` says of those whose script came to its own end why it did:
    null where there was no more work.
    """
    order: Order = task["order"]
    _, uri = opened(order)
    ordinals = range(names.ORDINALS) if task["ordinals"] is None else task["ordinals"]
    runners = [names.runner_id(order["batch_id"], ordinal) for ordinal in ordinals]
    reasons = task["reasons"] and {
        names.runner_id(order["batch_id"], int(ordinal)): why
        for ordinal, why in task["reasons"].items()
    }
    held = await asyncio.to_thread(trials.release, uri, order["experiment_id"], runners, reasons)
    told = dict.fromkeys(ordinals, "It was deleted with its fleet.")
    told |= {int(ordinal): why for ordinal, why in (task["reasons"] or {}).items()}
    ended = await asyncio.to_thread(heartbeats.close, uri, order, told)
    shown = {
        str(one): why and why[:SHOWN_CHARACTERS] for one, why in ended.items() if task["reasons"]
    }
    return {"held": [runner % names.ORDINALS for runner in held], "quit": shown}
