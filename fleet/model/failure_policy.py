"""What follows from a failure: for the call, the VM, its placement and the fleet.

One table, by the action that a row of the error table names. Nothing else branches on an action.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fleet.model.records import Action, Failure


@dataclass(frozen=True, slots=True)
class Policy:
    """What one action means."""

    retried: bool = False
    """The same call may succeed later."""
    replaced: bool = False
    """Another VM is created instead of the one that failed."""
    moved: bool = False
    """The failure belongs to the placement; the next VM may be placed elsewhere."""
    ends_fleet: bool = False
    """No VM would fare better: no more are created."""
    outcome: str = ""
    """What a user reads that was done, where the VM is replaced."""


POLICIES: dict[Action, Policy] = {
    "succeed": Policy(),
    "wait": Policy(retried=True, replaced=True, outcome="looked elsewhere"),
    "retry": Policy(retried=True, replaced=True, outcome="looked elsewhere"),
    "replace": Policy(replaced=True, outcome="asked for another VM"),
    "move": Policy(replaced=True, moved=True, outcome="looked elsewhere"),
    "fail_machine": Policy(),
    "fail_fleet": Policy(ends_fleet=True),
}

GAVE_UP = "gave this VM up"

REPEATS_THAT_STOP = 3
"""VMs lost to a fault that the next VM would meet as well: then no more are created."""


def of(failure: Failure) -> Policy:
    return POLICIES[failure["action"]]


def is_done(failure: Failure) -> bool:
    """The call's effect was there already."""
    return failure["action"] == "succeed"


def is_throttled(failure: Failure) -> bool:
    """Azure asked for fewer requests."""
    return failure["action"] == "wait"


def is_retried_as_is(failure: Failure) -> bool:
    """A retry without news from Azure when: a durable retry policy serves."""
    return failure["action"] == "retry"


def is_azure_fault(failure: Failure) -> bool:
    """Azure as a whole has a fault, not one resource."""
    return failure["action"] == "retry" and failure["passing"]


def closes_placement(failure: Failure) -> bool:
    """Other VMs would be refused in the same placement."""
    return of(failure).moved and bool(failure["scope"])


def repeats_elsewhere(failure: Failure, *, any_vm_has_run: bool) -> bool:
    """The next VM would meet the same: an unrecognised answer, or an image and a size with which no
    VM has run yet.
    """
    if failure["action"] == "replace":
        return not any_vm_has_run
    return failure["action"] == "fail_machine"


def is_final_for_vm(failure: Failure, previous_code: str | None) -> bool:
    """Another VM would fare no better: the fault is not the placement's, or the VM that this one
    replaced failed with the same code.
    """
    if failure["action"] == "replace":
        return failure["code"] == previous_code
    return not of(failure).replaced


def after_acceptance(failure: Failure) -> Failure:
    """The failure of an operation that is over: what would be retried takes another VM."""
    return {**failure, "action": "replace"} if _is_open(failure) else failure


def as_transient(failure: Failure) -> Failure:
    """The same failure, to be retried."""
    return {**failure, "action": "retry"}


def log_level(failure: Failure) -> int:
    return logging.ERROR if of(failure).ends_fleet else logging.WARNING


def _is_open(failure: Failure) -> bool:
    return is_done(failure) or of(failure).retried
