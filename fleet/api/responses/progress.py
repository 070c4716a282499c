"""Responses of `GET /fleets/{id}/progress`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import Count, FleetId, Time
from fleet.model.records import Placement, Trials
from fleet.model.right_sizing import RightSizing


class Experiment(TypedDict):
    """A Powerlift experiment."""

    id: Count
    """Its ID in the database."""
    name: str | None
    """Its name; null if the database could not be read."""


class Series(TypedDict):
    """Trials finished since the fleet started: cumulative counts at `start + step * (i + 1)`."""

    start: Time
    """The start of the first step."""
    step: Annotated[float, Field(ge=0)]
    """Seconds between two points; 0 if there are none."""
    complete: Annotated[list[Count], Field(max_length=240)]
    """Trials finished without an error by that time."""
    error: Annotated[list[Count], Field(max_length=240)]
    """Trials finished with an error by that time."""


class Before(TypedDict):
    """Trials that had finished before the fleet started. The series excludes them."""

    complete: Count
    """Finished without an error."""
    error: Count
    """Finished with an error."""


class PlacementHours(TypedDict):
    """VM hours in one placement."""

    placement: Placement
    """The placement."""
    vm_hours: Annotated[float, Field(ge=0)]
    """VM hours in this placement, summed over its VMs."""
    price_per_hour: float | None
    """For one VM with its OS disk, in the currency of `cost`; null if no price is known."""


class VmHours(TypedDict):
    """The lifetime of the fleet's VMs."""

    so_far: Annotated[float, Field(ge=0)]
    """VM hours until now, summed over all VMs."""
    by_placement: list[PlacementHours]
    """The same by placement."""


class Cost(TypedDict):
    """What the fleet's VMs cost with their OS disks: list prices, without network and discounts."""

    currency: Annotated[str, Field(examples=["USD"])]
    """ISO 4217."""
    so_far: float
    """Until now."""
    per_hour: float
    """Per hour, for the VMs that exist now."""
    expected: float | None
    """Until the expected end, also above `max_cost`; null if the end is unknown."""
    per_trial: float | None
    """`so_far` divided by the experiment's trials finished since the fleet started, including those that
    another fleet ran; null before the first."""
    saved_by_spot: float | None
    """What Regular VMs would have cost more until now; null without Spot VMs, or if a Regular price is
    unknown."""
    max_cost: float | None
    """The request's limit; null: none."""


class TrialError(TypedDict):
    """One kind of trial error."""

    message: Annotated[str, Field(examples=["ValueError: Input X contains NaN."])]
    """The exception and the first line of its message, cut to 300 characters, of one trial's error. The
    others may differ in their numbers."""
    count: Count
    """The number of trials."""


class CpuModel(TypedDict):
    """A kind of processor that ran trials."""

    model: Annotated[str, Field(examples=["AMD EPYC 7763 64-Core Processor"])]
    """Its name, as Linux reports it."""
    machines: Count
    """The VMs with it."""
    trials: Count
    """The experiment's successful trials that they ran."""


class Progress(TypedDict):
    """A fleet's trials over time, its VM hours, and their cost."""

    id: FleetId
    """The fleet's ID."""
    as_of: Time
    """The time of this report; of an ended fleet, its end."""
    experiment: Experiment
    """The experiment that the fleet runs."""
    trials: Trials | None
    """The experiment's trials at `as_of`; null if the database could not be read. Those that started
    after the end of the fleet, in another one, are ready."""
    series: Series
    """Trials over time; empty if the database could not be read."""
    before: Before
    """Trials finished before the fleet started."""
    errors: list[TrialError]
    """The eight most frequent trial errors since the fleet started."""
    cpu_models: list[CpuModel]
    """The processors that ran the experiment's successful trials, up to eight. With more than one, the
    trials' times cannot be compared."""
    trials_per_hour: float | None
    """The experiment's recent completion rate; null if too few trials have finished."""
    expected_end: Time | None
    """When the last trial finishes at that rate; null if it cannot be estimated, and if the fleet starts
    no more trials: near its `max_cost`, or after its deadline."""
    vm_hours: VmHours
    """The billed lifetime of the VMs, accurate to one polling interval."""
    cost: Cost | None
    """Null if the price of any placement is unknown: a partial sum would be misleading."""
    right_sizing: RightSizing | None
    """Whether a smaller VM size would have done; null before the fleet's end, without VMs, and if the
    database could not be read."""
    problem: str | None
    """Why the database could not be read; null otherwise."""
