"""What can be known before anything is made: one module a concern, one small function a check.

A check takes a `Survey` (what Azure and the database said) and yields findings. It does no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.api.responses import Status
from fleet.preflight.inventory import Missing, Survey


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has to say: how things are, and what a user can do about it."""

    status: Status
    detail: str
    advice: str = ""
    code: str = ""
    """Of a fault."""


def unseen(what: str, missing: Missing) -> Finding:
    """The finding where Azure did not say what the check needs to know."""
    reason = missing.failure
    detail = f"{what} could not be read: {reason['code']}: {reason['message']}"
    return Finding("unknown", detail, "Ask again later." if missing.passing else reason["advice"])


def room(survey: Survey, fit: int, code: str, why: str, advice: str) -> Finding:
    """Whether as many VMs as are wanted fit somewhere. With fewer than min_instances the fleet
    would fail, so that is a fault; with fewer than wanted it would be smaller: a warning.
    """
    wanted, least = survey.wanted, survey.least
    if fit >= wanted:
        return Finding("ok", f"{wanted} of {wanted} VMs fit{why}")
    detail = f"{fit} of {wanted} VMs fit{why}"
    if fit >= least:
        return Finding("warning", detail, advice)
    return Finding("fault", f"{detail}; min_instances is {least}", advice, code)
