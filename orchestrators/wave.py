"""One wave: create a few VMs, then give each its roles in order of creation time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import azure.durable_functions as df

from activities.machines import create_vm
from activities.permissions import assign_permissions
from fleet.records import Machine, Order
from orchestrators.patterns import Context, Steps, settle

bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def create_wave(context: Context) -> Steps:
    """`{order, ordinals, pending}` -> `{machines, failures}`.

    `pending` are VMs of earlier waves that lack a role: they take their place in the order. Never
    raises for what an activity met, so the parent may run it beside its wait for a cancel.
    """
    task: dict[str, Any] = context.get_input()
    order: Order = task["order"]
    created = yield from settle(
        context, create_vm, [{"order": order, "ordinal": n} for n in task["ordinals"]]
    )
    failures = [
        {"ordinal": ordinal, **result["failure"]}
        for ordinal, result in zip(task["ordinals"], created, strict=True)
        if not result["ok"]
    ]
    machines = [*task["pending"], *(result["machine"] for result in created if result["ok"])]
    yield from assign(context, order, machines)
    return {"machines": machines, "failures": failures}


def assign(context: Context, order: Order, machines: Iterable[Machine]) -> Steps:
    """One try at the missing roles of each VM, dispatched in order of creation time.

    What Azure refuses is left for the next wave or tick, so that one slow identity delays no other
    VM; `refusal` keeps why. VMs whose identity is not known yet are passed over. Updates the
    machines in place.
    """
    ready = in_order_of_creation(machine for machine in machines if machine["principal_id"])
    tasks = [{"order": order, "machine": machine} for machine in ready]
    results = yield from settle(context, assign_permissions, tasks, rounds=1)
    for machine, result in zip(ready, results, strict=True):
        refusals = result["failures"] if result["ok"] else [result["failure"]]
        machine["assigned"] = result.get("assigned", machine["assigned"])
        machine["settled"] = not refusals
        machine["refusal"] = refusals[0] if refusals else None


def in_order_of_creation(machines: Iterable[Machine]) -> list[Machine]:
    """VMs by (creation time, ordinal), through a heap; times are compared as times, not as text."""
    heap = [
        (datetime.fromisoformat(machine["created_at"]), machine["ordinal"], machine)
        for machine in machines
    ]
    heapq.heapify(heap)
    return [heapq.heappop(heap)[2] for _ in range(len(heap))]
