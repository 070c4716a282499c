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


class PlanCost(TypedDict):
    """What the fleet would cost: list prices of its VMs with their OS disks, without network and
    discounts."""

    currency: Annotated[str, Field(examples=["USD"])]
    """ISO 4217."""
    per_hour: float
    """Per hour, for all VMs in the preferred placement."""
    expected: float | None
    """For the expected time; null if no duration of a trial is known."""
    expected_seconds: float | None
    """The expected time: five minutes to start, then the trials."""
    basis: Annotated[
        str, Field(examples=["2 trials per VM, 12 s each: the mean of the finished ones"])
    ]
    """How the time was estimated, or why not."""
    at_most: float
    """Until `max_lifetime`, in the most expensive placement, or `max_cost` if that is less."""


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
    cost: PlanCost | None
    """Null if the price of any placement is unknown."""
    checks: list[Check]
    """The results of all checks."""
