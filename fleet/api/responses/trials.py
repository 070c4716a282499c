"""Responses of `GET /fleets/{id}/trials`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import FleetId, Ordinal, Time

TrialState = Literal["ready", "running", "complete", "failed"]


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
    seconds: Annotated[float, Field(ge=0)] | None
    """How long it took; null before its end."""
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
