"""The consequences of a failure for the call, the VM, its placement and the fleet.

One table, keyed by the action in a row of the error table. No other code branches on an action.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from typing_extensions import TypedDict

from fleet.model.records import Action, Failure


@dataclass(frozen=True, slots=True)
class Policy:
    retried: bool = False
    """The same call is repeated later."""
    replaced: bool = False
    """A replacement VM is created."""
    moved: bool = False
    """The failure belongs to the placement; the replacement may be placed elsewhere."""
    ends_fleet: bool = False
    """Every VM would fail the same way: no more are created."""


REPLACED = "requested a replacement VM"
QUEUED = "queued a replacement VM; the request has no other placement"
GAVE_UP = "gave up on this VM"

POLICIES: dict[Action, Policy] = {
    "succeed": Policy(),
    "wait": Policy(retried=True, replaced=True),
    "retry": Policy(retried=True, replaced=True),
    "replace": Policy(replaced=True),
    # As often as MAX_ATTEMPTS allows: another VM of the same kind may have what this one lacks.
    "redraw": Policy(replaced=True),
    "move": Policy(replaced=True, moved=True),
    "unclear": Policy(retried=True, replaced=True, moved=True),
    "fail_vm": Policy(),
    "fail_fleet": Policy(ends_fleet=True),
}

REPEATS_THAT_STOP = {"fail_vm": 3, "replace": 10}
"""By action: VMs failed with the same code after which no more are created; for `replace`, only if no VM
has run yet with this image and size.
"""
PROBES_THAT_STOP = 5
"""Failed attempts in placements that were known to fail, after which an unclear failure stops the
creation, if no VM exists or has run.
"""


class _Unclear(TypedDict):
    action: Action
    scope: str
    cool_down: float
    passing: bool


UNCLEAR: _Unclear = {
    "action": "unclear",
    "scope": "location zone vm_size",
    "cool_down": 600.0,
    "passing": True,
}
"""An unclear failure avoids its placement for as long as a lack of quota does, and may be probed."""


def of(failure: Failure) -> Policy:
    return POLICIES[failure["action"]]


def replacement_text(failure: Failure, alternatives: str) -> str:
    """The action shown to the user of a VM that is replaced.

    `alternatives`: what the request offers, from `placement.alternatives`.
    """
    if is_unclear(failure) or not closes_placement(failure):
        return REPLACED
    return f"tried the next {alternatives}" if alternatives else QUEUED


def is_done(failure: Failure) -> bool:
    """Whether the call had already taken effect."""
    return failure["action"] == "succeed"


def is_throttled(failure: Failure) -> bool:
    return failure["action"] == "wait"


def is_retried_as_is(failure: Failure) -> bool:
    """Whether a durable retry policy retries the call, because Azure sent no `Retry-After`."""
    return of(failure).retried and not is_throttled(failure)


def is_outage(failure: Failure) -> bool:
    """Whether Azure as a whole has an outage, rather than one resource."""
    return failure["action"] == "retry" and failure["passing"]


def closes_placement(failure: Failure) -> bool:
    """Whether Azure would refuse other VMs in the same placement."""
    return of(failure).moved and bool(failure["scope"])


def is_unclear(failure: Failure) -> bool:
    """Whether the cause is unknown: it may be the placement, and it may be transient."""
    return failure["action"] == "unclear"


def frees_ordinal(failure: Failure) -> bool:
    """Whether the VM is not requested again under the same ordinal."""
    return is_unclear(failure) or not of(failure).retried


def never_started(failure: Failure) -> bool:
    """Whether Azure had no capacity for the VM, which therefore has no console log."""
    return failure["action"] == "move"


def stops_fleet(
    failure: Failure, *, count: int, probes: int, any_vm_exists: bool, any_vm_has_run: bool
) -> bool:
    """Whether the next VM would fail the same way. `count`: the VMs that failed with this code.
    `probes`: the attempts that failed in placements that were known to fail.
    """
    if is_unclear(failure):
        return probes >= PROBES_THAT_STOP and not (any_vm_exists or any_vm_has_run)
    excused = failure["action"] == "replace" and any_vm_has_run
    limit = REPEATS_THAT_STOP.get(failure["action"])
    return of(failure).ends_fleet or (limit is not None and count >= limit and not excused)


def is_final_for_vm(failure: Failure, previous_code: str | None) -> bool:
    """Whether a replacement would fail as well: the placement is not the cause, or the VM that this one
    replaced failed with the same code.
    """
    if failure["action"] == "replace":
        return failure["code"] == previous_code
    return not of(failure).replaced


def after_acceptance(failure: Failure) -> Failure:
    """The failure of an operation that cannot be retried: it needs a replacement VM instead.

    Its placement is avoided for longer than a boot may take: otherwise each probe would fail after the
    cooldown, and count as the first failure there.
    """
    retriable = is_done(failure) or of(failure).retried
    return {**failure, **UNCLEAR, "cool_down": 3600.0} if retriable else failure


def as_transient(failure: Failure) -> Failure:
    return {**failure, "action": "retry"}


def log_level(failure: Failure) -> int:
    return logging.ERROR if of(failure).ends_fleet else logging.WARNING
