"""Responses of `POST /plan`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import Count
from fleet.api.responses.request import Understood
from fleet.model.records import Trials

Status = Literal["ok", "warning", "fault", "unknown"]


class Check(TypedDict):
    """The result of one check."""

    name: Annotated[str, Field(examples=["quota"])]
    """The check."""
    status: Status
    """`warning`: the fleet can run, smaller or slower. `fault`: the fleet cannot run. `unknown`: the
    required data could not be read; this alone does not fail a fleet."""
    detail: str
    """What the check found."""
    advice: str
    """What to do about it; empty if no action is needed."""


class Plan(TypedDict):
    """The expected outcome of a fleet request."""

    request: Understood
    """The request as the app understood it."""
    ok: bool
    """Whether a fleet submitted now would pass the plan."""
    n_instances: Count
    """VMs that the fleet would provision: at most one per unfinished trial."""
    location: str | None
    """The Azure region; null if neither the request nor the resource group provides one."""
    placements: Annotated[list[str], Field(examples=[["eastus/1 Standard_D2s_v5"]])]
    """Candidate placements in order of preference, each as a label."""
    trials: Trials | None
    """The experiment's trials; null if the database could not be read."""
    checks: list[Check]
    """The results of all checks."""
