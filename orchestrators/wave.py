"""`create_wave`: create a few VMs, then assign their roles in order of creation time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import azure.durable_functions as df

from activities.vms import create_nics, create_vm, delete_nics
from fleet.model import failure_policy
from fleet.model.activities import (
    CreateNics,
    CreateVm,
    CreateWave,
    Failed,
    Nic,
    NicsCreated,
    VmAccepted,
    VmOrdinals,
    WaveResult,
)
from fleet.model.placement import label
from fleet.model.records import Failure, Order, Placement, Vm, VmRequest
from orchestrators.patterns import Call, Context, Orchestration, settle
from orchestrators.role_assignments import assign_roles

bp = df.Blueprint()


@dataclass
class Created:
    """The outcome of some creates."""

    vms: list[Vm]
    refusals: dict[int, Failure]
    """By ordinal."""
    nics: set[int]
    """Ordinals of NICs created ahead of their VMs."""
    wait: float
    """Seconds for which Azure throttles writes."""


@bp.orchestration_trigger(context_name="context")
def create_wave(context: Context) -> Orchestration[WaveResult]:
    """Create the requested VMs and assign roles, also to earlier VMs that still lack theirs.

    In a placement that was not tried yet, one VM goes first, as a pilot. If Azure refuses it, the other
    requests for this placement are returned unsent. The next wave's NICs are created while roles are
    assigned, which saves that wave the time. If Azure throttles, roles are left to a later poll.
    """
    task: CreateWave = context.get_input()
    order = task["order"]
    with_nic = set(task["with_nic"])
    pilots, rest = _pilots(task["requests"], task["tried"])
    first = yield from _create(context, order, pilots, with_nic, ahead=rest)
    with_nic |= first.nics
    closed = [label(one["placement"]) for one in pilots if one["ordinal"] in first.refusals]
    unsent = [one for one in rest if first.wait or label(one["placement"]) in closed]
    sent = [one for one in rest if one not in unsent]
    second = yield from _create(context, order, sent, with_nic)
    refusals = {**first.refusals, **second.refusals}
    vms = [*task["without_role"], *first.vms, *second.vms]
    wait = max(first.wait, second.wait)
    # After a refused pilot the next VMs are placed elsewhere, so NICs here would be wasted.
    nics = (
        []
        if wait or closed
        else [_nic(one["ordinal"], one["location"]) for one in task["reserved"]]
    )
    beside = [*_nic_calls(order, nics), *_cleanup(order, refusals)]
    results = yield from assign_roles(context, order, [] if wait else vms, beside)
    created = results[:1] if nics else []
    return {
        "vms": vms,
        "refusals": [
            {"request": one, "failure": refusals[one["ordinal"]]}
            for one in task["requests"]
            if one["ordinal"] in refusals
        ],
        "unsent": [{"request": one, "has_nic": one["ordinal"] in with_nic} for one in unsent],
        "nics": sorted(_created_nics(created)),
        "wait": max(wait, _longest_wait(created)),
    }


def _pilots(
    requests: Sequence[VmRequest], tried: Sequence[Placement]
) -> tuple[list[VmRequest], list[VmRequest]]:
    """The first request for each placement that was not tried, and all others."""
    known = {label(placement) for placement in tried}
    pilots = []
    for one in requests:
        if label(one["placement"]) not in known:
            known.add(label(one["placement"]))
            pilots.append(one)
    return pilots, [one for one in requests if one not in pilots]


def _create(
    context: Context,
    order: Order,
    requests: Sequence[VmRequest],
    with_nic: set[int],
    ahead: Sequence[VmRequest] = (),
) -> Orchestration[Created]:
    """Create VMs, and in the same fan-out the NICs of the requests `ahead`."""
    tasks: list[CreateVm] = [
        {"order": order, "request": one, "has_nic": one["ordinal"] in with_nic} for one in requests
    ]
    calls: list[Call] = [(create_vm, task) for task in tasks]
    nics = [
        _nic(one["ordinal"], one["placement"]["location"])
        for one in ahead
        if one["ordinal"] not in with_nic
    ]
    results = yield from settle(context, [*calls, *_nic_calls(order, nics)])
    outcomes: list[VmAccepted | Failed] = results[: len(calls)]
    created: list[NicsCreated | Failed] = results[len(calls) :]
    refusals = {
        one["ordinal"]: outcome["failure"]
        for one, outcome in zip(requests, outcomes, strict=True)
        if not outcome["ok"]
    }
    throttled = filter(failure_policy.is_throttled, refusals.values())
    waits = [one["retry_after"] or 0.0 for one in throttled]
    return Created(
        vms=[outcome["vm"] for outcome in outcomes if outcome["ok"]],
        refusals=refusals,
        nics=_created_nics(created),
        wait=max([*waits, _longest_wait(created)]),
    )


def _nic(ordinal: int, location: str) -> Nic:
    return {"ordinal": ordinal, "location": location}


def _nic_calls(order: Order, nics: list[Nic]) -> list[Call]:
    task: CreateNics = {"order": order, "nics": nics}
    return [(create_nics, task)] if nics else []


def _cleanup(order: Order, refusals: dict[int, Failure]) -> list[Call]:
    """Delete the NICs of VMs that are not retried under the same ordinal."""
    final = [ordinal for ordinal, why in refusals.items() if failure_policy.frees_ordinal(why)]
    task: VmOrdinals = {"order": order, "ordinals": final}
    return [(delete_nics, task)] if final else []


def _longest_wait(results: Iterable[NicsCreated | Failed]) -> float:
    """Seconds for which Azure throttled `create_nics`."""
    return max((one["retry_after"] or 0.0 for one in results if one["ok"]), default=0.0)


def _created_nics(results: Iterable[NicsCreated | Failed]) -> set[int]:
    return {ordinal for one in results if one["ok"] for ordinal in one["created"]}
