"""The result of a check.

A check is a function without I/O that takes `PlanInputs` and yields results. Each of the other modules
contains the checks of one concern.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.api.responses.plan import Status
from fleet.preflight.plan_inputs import PlanInputs, Unavailable


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found, and what the user can do about it."""

    status: Status
    detail: str
    advice: str = ""
    code: str = ""
    """The failure code of a fault."""


def unreadable(what: str, missing: Unavailable) -> CheckResult:
    """The result if the check's input could not be read."""
    reason = missing.failure
    detail = f"{what} could not be read: {reason['code']}: {reason['message']}"
    return CheckResult("unknown", detail, "Retry later." if missing.passing else reason["advice"])


def capacity_result(inputs: PlanInputs, fit: int, code: str, why: str, advice: str) -> CheckResult:
    """A warning if fewer VMs fit than wanted, a fault if fewer fit than min_instances."""
    wanted, minimum = inputs.wanted, inputs.minimum
    if fit >= wanted:
        return CheckResult("ok", f"{wanted} of {wanted} VMs fit{why}")
    detail = f"{fit} of {wanted} VMs fit{why}"
    if fit >= minimum:
        return CheckResult("warning", detail, advice)
    return CheckResult("fault", f"{detail}; min_instances is {minimum}", advice, code)
