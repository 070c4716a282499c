"""Responses of `GET /fleets/{id}/trials`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import Count, FleetId, Ordinal, Time
from fleet.api.responses.machines import MachineSystem

TrialState = Literal["ready", "running", "complete", "failed"]


Seconds = Annotated[float, Field(ge=0)]


class TrialUsage(TypedDict):
    """What a trial's processes used. Null: not known."""

    wall_seconds: Seconds | None
    """Elapsed time, with the trial's own queries."""
    user_seconds: Seconds | None
    """CPU time of all its processes."""
    system_seconds: Seconds | None
    """CPU time that the kernel spent for them."""
    steal_seconds: Seconds | None
    """Time in which the host ran something else on the VM's CPUs, summed over them."""
    max_rss_bytes: Count | None
    """Peak resident memory of its largest process."""


class TrialVm(TypedDict):
    """A VM as it reports itself. Null: not known."""

    fleet: FleetId | None
    """The fleet that it belongs to."""
    name: str | None
    """Its name in Azure."""
    vm_size: str | None
    """Its size."""
    location: str | None
    """Its region."""
    zone: str | None
    """Its availability zone."""
    priority: str | None
    """`Regular` or `Spot`."""
    system: MachineSystem
    """Its processor, memory, image and packages."""


class Trial(TypedDict):
    """One trial of the fleet's experiment. Long texts are cut off."""

    id: int
    """Its ID in Powerlift's trial table."""
    task: str
    """The name of its task."""
    origin: str
    """Where the task is from; tasks of different origins may have the same name."""
    method: str
    """The name of its method."""
    meta: str
    """What Powerlift's `trial.meta` contains, as JSON: the method's parameters, for example."""
    replicate: int
    """The number of its replicate."""
    state: TrialState
    """`ready`: no VM has started it."""
    machine: Ordinal | None
    """The VM that runs it or ran it last; null if it is none of this fleet."""
    started_at: Time | None
    """When it was started last; null before."""
    ended_at: Time | None
    """When it ended; null before."""
    seconds: Seconds | None
    """How long it took; null before its end."""
    usage: TrialUsage | None
    """What it used; null before its end, or if its runner does not measure it."""
    vm: TrialVm | None
    """The VM that runs it or ran it last, also one of another fleet; null if unknown."""
    measures: dict[str, float]
    """The latest value of each numeric measure, at most eight."""
    error: str | None
    """The first line of its exception; null if it has not failed."""
    traceback: str | None
    """The last 4,000 characters of its error; null if it has not failed, or without `traceback=true`."""


class TrialPage(TypedDict):
    """A page of trials."""

    id: FleetId
    """The fleet's ID."""
    experiment_id: Annotated[int, Field(ge=0)]
    """The fleet's experiment. Other fleets may run its trials too."""
    trials: list[Trial]
    """In order of ID."""
    next: str | None
    """The `cursor` of the next page; null for the last one."""
