"""The number of VMs that a fleet still requires, and their ordinals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fleet.model.names import ORDINALS
from fleet.model.records import (
    Failure,
    PendingRetry,
    Placement,
    Replacement,
    Trials,
    Vm,
    VmRequest,
)

REGULAR = "Regular"
MAX_ATTEMPTS = 8
"""VMs in one chain of replacements."""
RETRY_MARGIN = 10
"""Failures that a fleet may have beyond one for each VM."""


def open_trials(trials: Trials) -> int:
    return trials["ready"] + trials["running"]


def vms_due(waiting: int, trials: Trials | None, present: Sequence[Vm]) -> tuple[int, int]:
    """How many VMs there are trials for, besides those present: of regular priority for the `waiting`
    ones, and of any priority for the others.
    """
    if not waiting or trials is None:
        return 0, ORDINALS
    regular = sum(map(is_regular, present))
    others = open_trials(trials) - waiting - (len(present) - regular)
    return max(0, waiting - regular), max(0, others)


def useful_vms(waiting: int, trials: Trials | None, present: Sequence[Vm]) -> int:
    """How many VMs there are trials for: a Spot VM takes none of those that are `waiting`."""
    if not waiting or trials is None:
        return len(present)
    regular = sum(map(is_regular, present))
    return regular + min(len(present) - regular, open_trials(trials) - waiting)


def is_regular(vm: Vm) -> bool:
    return vm["placement"]["priority"] == REGULAR


@dataclass
class Demand:
    """The VMs of an order that are not created yet.

    Each of the order's `n_instances` VMs is living, has ended, or is counted here once: in
    `unrequested`, `replacements`, `retries` or `given_up`.
    """

    unrequested: int = 0
    replacements: list[Replacement] = field(default_factory=list)
    retries: list[PendingRetry] = field(default_factory=list)
    given_up: dict[str, int] = field(default_factory=dict)
    """VMs that get no replacement, by the code of their last failure."""
    failed_attempts: int = 0
    """Failures counted against the retry budget: see `FleetState.fail_vm`."""
    next_ordinal: int = 0
    in_flight: list[VmRequest] = field(default_factory=list)
    """Requests whose outcome is unknown, because their wave runs."""
    stopped: Failure | None = None
    """Why no more VMs are requested."""
    added: int = 0
    """VMs beyond those of the request, each in the place of one that has ended: part of the order's
    `n_instances`."""

    def wanted(self, trials: Trials | None, living: int) -> int:
        """How many VMs to request, in addition to retries: at most one per open trial.

        `trials` None: assume enough.
        """
        wanted = len(self.replacements) + self.unrequested
        if trials is None:
            return wanted
        known = living + len(self.retries) + len(self.in_flight)
        return max(0, min(wanted, open_trials(trials) - known))

    def pending(self) -> int:
        """VMs that are requested, or will be."""
        waiting = self.unrequested + len(self.replacements)
        return waiting + len(self.retries) + len(self.in_flight)

    def left_out(self) -> Counter[str]:
        """VMs that were requested in vain so far, by the code of their last failure."""
        counts = Counter(self.given_up)
        counts.update(replacement["code"] for replacement in self.replacements)
        counts.update(retry["code"] for retry in self.retries)
        return counts

    def requests_left(self, n_instances: int) -> int:
        """How many more VMs may be requested at all, by the retry budget and the free ordinals."""
        budget = n_instances + RETRY_MARGIN - self.failed_attempts
        return max(0, min(budget, ORDINALS - self.next_ordinal))

    def take_retries(self, count: int) -> list[VmRequest]:
        """Up to `count` of the pending retries."""
        taken, self.retries = self.retries[:count], self.retries[count:]
        return [one["request"] for one in taken]

    def request(self, placements: Iterable[Placement]) -> list[VmRequest]:
        """A VM in each placement, replacements first."""
        requests: list[VmRequest] = []
        for placement in placements:
            replacement = self.replacements.pop(0) if self.replacements else None
            if replacement is None:
                self.unrequested -= 1
            requests.append(
                {
                    "ordinal": self.next_ordinal,
                    "placement": placement,
                    "replaces": replacement and replacement["replaces"],
                    "attempt": replacement["attempt"] if replacement else 1,
                }
            )
            self.next_ordinal += 1
        return requests

    def give_up(self, code: str, count: int = 1) -> None:
        """Request no more VMs in the place of so many."""
        self.given_up[code] = self.given_up.get(code, 0) + count
