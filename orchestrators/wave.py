"""One wave: create a few VMs, then give each its roles in order of creation time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import azure.durable_functions as df

from activities.machines import create_vm, prepare_nics
from activities.permissions import assign_permissions
from fleet.records import Machine, Order
from orchestrators.patterns import Call, Context, Steps, delay, settle

bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def create_wave(context: Context) -> Steps:
    """`{order, ordinals, prepared, following, pending}` -> `{machines, failures, prepared}`.

    `ordinals` are the VMs to create; those in `prepared` have their NIC already. `following` get
    theirs beside this wave's roles, which takes the next wave's time for them out of its way.
    `pending` are VMs of earlier waves that lack a role: they take their place in the order.
    """
    task: dict[str, Any] = context.get_input()
    order: Order = task["order"]
    prepared = set(task["prepared"])
    calls = [
        (create_vm, {"order": order, "ordinal": ordinal, "has_nic": ordinal in prepared})
        for ordinal in task["ordinals"]
    ]
    created = yield from settle(context, calls)
    failures = [
        {"ordinal": ordinal, **result["failure"]}
        for ordinal, result in zip(task["ordinals"], created, strict=True)
        if not result["ok"]
    ]
    machines = [*task["pending"], *(result["machine"] for result in created if result["ok"])]
    ahead = [(prepare_nics, {"order": order, "ordinals": task["following"]})]
    beside = yield from assign(context, order, machines, ahead if task["following"] else [])
    ready = [ordinal for result in beside if result["ok"] for ordinal in result["prepared"]]
    return {"machines": machines, "failures": failures, "prepared": ready}


def assign(
    context: Context, order: Order, machines: Iterable[Machine], beside: Sequence[Call] = ()
) -> Steps:
    """One try at the missing roles of each VM, dispatched in order of creation time.

    What Azure refuses is left for a later wave or tick, after a backoff, so that one slow identity
    delays no other VM; `refusal` keeps why. VMs whose identity is not known yet are passed over.
    Updates the machines in place. Returns the results of the calls `beside`, which are dispatched
    in the same fan-out.
    """
    now = context.current_utc_datetime
    ready = in_order_of_creation(machine for machine in machines if _is_due(machine, now))
    calls = [(assign_permissions, {"order": order, "machine": machine}) for machine in ready]
    results = yield from settle(context, [*calls, *beside], rounds=1)
    for machine, result in zip(ready, results[: len(ready)], strict=True):
        refusals = result["failures"] if result["ok"] else [result["failure"]]
        machine["assigned"] = result.get("assigned", machine["assigned"])
        machine["settled"] = not refusals
        machine["refusal"] = refusals[0] if refusals else None
        if refusals:
            wait = max(refusals[0]["retry_after"] or 0.0, delay(machine["tries"]))
            machine["next_try"] = (now + timedelta(seconds=wait)).isoformat()
            machine["tries"] += 1
    return results[len(ready) :]


def _is_due(machine: Machine, now: datetime) -> bool:
    if machine["principal_id"] is None:
        return False
    return machine["next_try"] is None or now >= datetime.fromisoformat(machine["next_try"])


def in_order_of_creation(machines: Iterable[Machine]) -> list[Machine]:
    """VMs by (creation time, ordinal), through a heap; times are compared as times, not as text."""
    heap = [
        (datetime.fromisoformat(machine["created_at"]), machine["ordinal"], machine)
        for machine in machines
    ]
    heapq.heapify(heap)
    return [heapq.heappop(heap)[2] for _ in range(len(heap))]
