"""Trials over time, VM hours and cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from powerlift_fleet.api.json_reader import Response
from powerlift_fleet.api.responses.fleets import Placement, TrialCounts


@dataclass(frozen=True, kw_only=True)
class Experiment(Response):
    """A Powerlift experiment."""

    id: int
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialSeries(Response):
    """Cumulative counts of ended trials; point `i` is at `start + step * (i + 1)`."""

    start: datetime
    step: float
    complete: tuple[int, ...]
    error: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EarlierTrials(Response):
    """Trials that had ended before the fleet began."""

    complete: int
    error: int


@dataclass(frozen=True, kw_only=True)
class PlacementHours(Response):
    """VM hours in one placement."""

    placement: Placement
    vm_hours: float
    price_per_hour: float | None = None


@dataclass(frozen=True, kw_only=True)
class VmHours(Response):
    """VM hours of a fleet."""

    so_far: float
    by_placement: tuple[PlacementHours, ...]


@dataclass(frozen=True, kw_only=True)
class Cost(Response):
    """List prices of the VMs with their OS disks, without network and discounts. In US dollars."""

    currency: str
    so_far: float
    per_hour: float
    expected: float | None = None
    """Until the expected end."""
    per_trial: float | None = None
    saved_by_spot: float | None = None
    """What Regular VMs would have cost more until now."""
    max_cost: float | None = None
    """The request's limit."""


@dataclass(frozen=True, kw_only=True)
class TrialError(Response):
    """Trials that failed with the same error."""

    message: str
    count: int


@dataclass(frozen=True, kw_only=True)
class SizeSuggestion(Response):
    """A smaller VM size that would have done. In US dollars."""

    vm_size: str
    price_per_hour: float
    instead_of: float
    """The price of the size that was used."""
    saving: float
    """The difference, as a share of `instead_of`."""


@dataclass(frozen=True, kw_only=True)
class RightSizing(Response):
    """Whether a smaller VM size would have run the trials."""

    vm_size: str
    """The size with the most VM hours."""
    vms: int
    """VMs that reported what they used."""
    trials: int
    """Trials that finished on them."""
    used_vcpus: float | None = None
    used_memory_bytes: int | None = None
    suggestion: SizeSuggestion | None = None
    message: str
    """The suggestion in words, or why there is none."""


@dataclass(frozen=True, kw_only=True)
class CpuModel(Response):
    """A kind of processor that ran trials."""

    model: str
    machines: int
    trials: int
    """The experiment's successful trials that they ran."""


@dataclass(frozen=True, kw_only=True)
class Progress(Response):
    """Trials over time, expected end, VM hours and cost of a fleet."""

    id: str
    as_of: datetime
    experiment: Experiment
    trials: TrialCounts | None = None
    series: TrialSeries
    before: EarlierTrials
    errors: tuple[TrialError, ...]
    """The most frequent first."""
    cpu_models: tuple[CpuModel, ...] = ()
    """With more than one, the trials' times cannot be compared."""
    trials_per_hour: float | None = None
    expected_end: datetime | None = None
    vm_hours: VmHours
    cost: Cost | None = None
    """None if a price is unknown."""
    right_sizing: RightSizing | None = None
    """Whether a smaller VM size would have done; None before the end."""
    problem: str | None = None
    """Why the database could not be queried."""
