"""One wave: create a few VMs, then give each its roles in order of creation time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import azure.durable_functions as df

from activities.role_assignments import assign_permissions
from activities.vms import create_nics, create_vm, delete_nics
from fleet.model import failure_policy
from fleet.model.placement import label
from fleet.model.records import Machine, Order, Placement, VmRequest
from orchestrators.patterns import Call, Context, Orchestration, delay, settle

bp = df.Blueprint()


@bp.orchestration_trigger(context_name="context")
def create_wave(context: Context) -> Orchestration:
    """`{order, assignments, tried, prepared, following, pending}` -> `{machines, refusals, unsent,
    prepared, wait}`.

    `assignments` are the VMs to create; those in `prepared` have their NIC already. A place that is
    not among those `tried` gets one VM first: if Azure refuses it, the others are returned `unsent`
    (with their NICs). `following` get their NICs beside this wave's roles, which takes the next
    wave's time for them out of its way. `pending` are VMs of earlier waves that lack a role: they
    take their place in the order. `wait`: the seconds for which Azure wants no more writes; roles
    are left for later then.
    """
    task: dict[str, Any] = context.get_input()
    order: Order = task["order"]
    ready: set[int] = set(task["prepared"])
    pilots, rest = _pilots(task["assignments"], task["tried"])
    first = yield from _create(context, order, pilots, ready, ahead=rest)
    ready |= first["prepared"]
    closed = [label(one["placement"]) for one in pilots if one["ordinal"] in first["refusals"]]
    unsent = [one for one in rest if first["wait"] or label(one["placement"]) in closed]
    sent = [one for one in rest if one not in unsent]
    second = yield from _create(context, order, sent, ready)
    refusals = {**first["refusals"], **second["refusals"]}
    machines = [*task["pending"], *first["machines"], *second["machines"]]
    wait = max(first["wait"], second["wait"])
    # Where a pilot was refused, the next VMs go elsewhere: NICs there would be in vain.
    beside = [] if wait or closed else _preparations(order, task["following"])
    final = [ordinal for ordinal, why in refusals.items() if not failure_policy.of(why).retried]
    if final:
        beside.append((delete_nics, {"order": order, "ordinals": final}))
    ahead = yield from assign(context, order, [] if wait else machines, beside)
    return {
        "machines": machines,
        "refusals": [
            {"assignment": one, "failure": refusals[one["ordinal"]]}
            for one in task["assignments"]
            if one["ordinal"] in refusals
        ],
        "unsent": [{"assignment": one, "has_nic": one["ordinal"] in ready} for one in unsent],
        "prepared": sorted(_prepared(ahead)),
        "wait": max(wait, _longest_wait(ahead)),
    }


def _pilots(
    assignments: Sequence[VmRequest], tried: Sequence[Placement]
) -> tuple[list[VmRequest], list[VmRequest]]:
    """The first VM of each place that was never tried, and all others."""
    known = {label(placement) for placement in tried}
    pilots = []
    for one in assignments:
        if label(one["placement"]) not in known:
            known.add(label(one["placement"]))
            pilots.append(one)
    return pilots, [one for one in assignments if one not in pilots]


def _create(
    context: Context,
    order: Order,
    assignments: Sequence[VmRequest],
    ready: set[int],
    ahead: Sequence[VmRequest] = (),
) -> Orchestration:
    """Ask for VMs, and beside it for the NICs of those `ahead`."""
    calls: list[Call] = [
        (create_vm, {"order": order, "assignment": one, "has_nic": one["ordinal"] in ready})
        for one in assignments
    ]
    nics = [
        {"ordinal": one["ordinal"], "location": one["placement"]["location"]}
        for one in ahead
        if one["ordinal"] not in ready
    ]
    results = yield from settle(context, [*calls, *_preparations(order, nics)])
    pairs = list(zip(assignments, results, strict=False))
    refused = [result["failure"] for _, result in pairs if not result["ok"]]
    waits = [one["retry_after"] or 0.0 for one in refused if failure_policy.is_throttled(one)]
    others = results[len(pairs) :]
    return {
        "machines": [result["machine"] for _, result in pairs if result["ok"]],
        "refusals": {
            one["ordinal"]: result["failure"] for one, result in pairs if not result["ok"]
        },
        "prepared": _prepared(others),
        "wait": max([*waits, _longest_wait(others)]),
    }


def _preparations(order: Order, nics: Sequence[Any]) -> list[Call]:
    return [(create_nics, {"order": order, "nics": list(nics)})] if nics else []


def _longest_wait(results: Iterable[dict[str, Any]]) -> float:
    """What Azure asked `create_nics` to wait, in seconds."""
    return max((result.get("retry_after") or 0.0 for result in results), default=0.0)


def _prepared(results: Iterable[dict[str, Any]]) -> set[int]:
    """The ordinals that `create_nics` has made NICs for."""
    return {ordinal for result in results if result["ok"] for ordinal in result.get("prepared", [])}


def assign(
    context: Context, order: Order, machines: Iterable[Machine], beside: Sequence[Call] = ()
) -> Orchestration:
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
    now = context.current_utc_datetime  # what Azure asks us to wait counts from its answer
    for machine, result in zip(ready, results[: len(ready)], strict=True):
        refusals = result["failures"] if result["ok"] else [result["failure"]]
        machine["assigned"] = result.get("assigned", machine["assigned"])
        machine["settled"] = not refusals
        if 0 in machine["assigned"] and machine["role_assigned_at"] is None:
            machine["role_assigned_at"] = now.isoformat()
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
