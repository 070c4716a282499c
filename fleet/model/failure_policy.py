"""The consequences of a failure for the call, the VM, its placement and the fleet.

One table, keyed by the action in a row of the error table. No other code branches on an action.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

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
    outcome: str = ""
    """The action shown to the user if the VM is replaced."""


MOVED = "tried the next zone or fallback"
REPLACED = "requested a replacement VM"
GAVE_UP = "gave up on this VM"

POLICIES: dict[Action, Policy] = {
    "succeed": Policy(),
    "wait": Policy(retried=True, replaced=True, outcome=MOVED),
    "retry": Policy(retried=True, replaced=True, outcome=MOVED),
    "replace": Policy(replaced=True, outcome=REPLACED),
    "move": Policy(replaced=True, moved=True, outcome=MOVED),
    "fail_vm": Policy(),
    "fail_fleet": Policy(ends_fleet=True),
}

REPEATS_THAT_STOP = 3
"""Failed VMs after which no more are created if the next VM would fail for the same cause."""


def of(failure: Failure) -> Policy:
    return POLICIES[failure["action"]]


def is_done(failure: Failure) -> bool:
    """Whether the call had already taken effect."""
    return failure["action"] == "succeed"


def is_throttled(failure: Failure) -> bool:
    return failure["action"] == "wait"


def is_retried_as_is(failure: Failure) -> bool:
    """Whether a durable retry policy retries the call, because Azure sent no `Retry-After`."""
    return failure["action"] == "retry"


def is_outage(failure: Failure) -> bool:
    """Whether Azure as a whole has an outage, rather than one resource."""
    return failure["action"] == "retry" and failure["passing"]


def closes_placement(failure: Failure) -> bool:
    """Whether Azure would refuse other VMs in the same placement."""
    return of(failure).moved and bool(failure["scope"])


def repeats_elsewhere(failure: Failure, *, any_vm_has_run: bool) -> bool:
    """Whether the next VM would fail the same way: the error is unrecognised, or no VM has run yet with
    this image and size.
    """
    if failure["action"] == "replace":
        return not any_vm_has_run
    return failure["action"] == "fail_vm"


def is_final_for_vm(failure: Failure, previous_code: str | None) -> bool:
    """Whether a replacement would fail as well: the placement is not the cause, or the VM that this one
    replaced failed with the same code.
    """
    if failure["action"] == "replace":
        return failure["code"] == previous_code
    return not of(failure).replaced


def after_acceptance(failure: Failure) -> Failure:
    """The failure of an operation that cannot be retried: it needs a replacement VM instead."""
    retriable = is_done(failure) or of(failure).retried
    return {**failure, "action": "replace"} if retriable else failure


def as_transient(failure: Failure) -> Failure:
    return {**failure, "action": "retry"}


def log_level(failure: Failure) -> int:
    return logging.ERROR if of(failure).ends_fleet else logging.WARNING
