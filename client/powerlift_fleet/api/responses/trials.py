"""The trials of a fleet's experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from powerlift_fleet.api.json_reader import Response
from powerlift_fleet.api.responses.machines import MachineSystem


@dataclass(frozen=True, kw_only=True)
class TrialUsage(Response):
    """What a trial's processes used. None: not known."""

    wall_seconds: float | None = None
    user_seconds: float | None = None
    system_seconds: float | None = None
    steal_seconds: float | None = None
    """Time in which the host ran something else on the VM's CPUs."""
    max_rss_bytes: int | None = None
    """Peak resident memory of the largest process."""


@dataclass(frozen=True, kw_only=True)
class TrialVm(Response):
    """A VM as it reports itself. None: not known."""

    fleet: str | None = None
    """The full ID of its fleet."""
    name: str | None = None
    vm_size: str | None = None
    location: str | None = None
    zone: str | None = None
    priority: str | None = None
    system: MachineSystem


@dataclass(frozen=True, kw_only=True)
class Trial(Response):
    """One trial. Long texts are cut off."""

    id: int
    """In Powerlift's trial table."""
    task: str
    origin: str
    """Where the task is from."""
    method: str
    meta: str
    """JSON: the method's parameters, for example."""
    replicate: int
    state: str
    """ready, running, complete or failed."""
    machine: int | None = None
    """The ordinal of the VM that runs it or ran it last; None if it is none of this fleet."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    """How long it took."""
    usage: TrialUsage | None = None
    """What it used, if its runner measures it."""
    vm: TrialVm | None = None
    """The VM that runs it or ran it last, also one of another fleet; None if unknown."""
    measures: Mapping[str, float]
    """The latest value of each numeric measure, at most eight."""
    error: str | None = None
    """The first line of its exception, if it has failed."""
    traceback: str | None = None
    """The last 4,000 characters of its error, if it was requested."""

    @property
    def brief(self) -> Mapping[str, object]:
        """What a table of trials shows, by column."""
        return {
            "trial": self.id,
            "task": self.task,
            "method": self.method,
            "meta": self.meta,
            "replicate": self.replicate,
            "state": self.state,
            "VM": self.machine,
            "seconds": self.seconds,
            "processor": self.vm and self.vm.system.cpu_model,
            "measures": ", ".join(f"{name} {value:g}" for name, value in self.measures.items()),
            "error": self.error,
        }


@dataclass(frozen=True, kw_only=True)
class TrialPage(Response):
    """A page of trials."""

    id: str
    experiment_id: int
    trials: tuple[Trial, ...]
    next: str | None = None
    """The `cursor` of the next page."""
