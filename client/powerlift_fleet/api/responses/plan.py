"""The plan of a request."""

from __future__ import annotations

from dataclasses import dataclass

from powerlift_fleet.api.json_reader import Response
from powerlift_fleet.api.responses.fleets import TrialCounts


@dataclass(frozen=True, kw_only=True)
class Check(Response):
    """One check of a plan."""

    name: str
    status: str
    """ok, warning, fault or unknown."""
    detail: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Plan(Response):
    """The result of a dry run."""

    ok: bool
    """Whether a fleet could start now."""
    n_instances: int
    location: str | None = None
    placements: tuple[str, ...]
    """The preferred one first."""
    trials: TrialCounts | None = None
    checks: tuple[Check, ...]
