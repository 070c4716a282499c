"""A fleet's VMs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from powerlift_fleet.api.json_reader import Response
from powerlift_fleet.api.responses.fleets import Placement


@dataclass(frozen=True, kw_only=True)
class MachineFailure(Response):
    """Why a VM failed or was refused."""

    code: str
    message: str
    action: str
    """What the app did."""


@dataclass(frozen=True, kw_only=True)
class MachineTrials(Response):
    """Trials of one VM by state."""

    running: int
    complete: int
    error: int


@dataclass(frozen=True, kw_only=True)
class MachineSystem(Response):
    """What a VM runs on, as it reports it."""

    image: str | None = None
    image_version: str | None = None
    kernel: str | None = None
    architecture: str | None = None
    cpu_model: str | None = None
    cpus: int | None = None
    memory_bytes: int | None = None
    python: str | None = None
    lock_digest: str | None = None
    """Of the `PackageLock` that it installed."""


@dataclass(frozen=True, kw_only=True)
class PackageLock(Response):
    """The packages of a fleet's VMs with one CPU architecture."""

    architecture: str
    """x64 or Arm64."""
    digest: str
    requirements: str
    """The text, as `requirements_lock` of a request takes it; credentials in URLs are `***`."""
    python: str | None = None
    """The version that it was resolved for; None for a lock of the request."""
    ordinal: int | None = None
    """The VM that resolved it; None for a lock of the request."""
    resolved_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class PackageLockList(Response):
    """The locks of a fleet."""

    id: str
    locks: tuple[PackageLock, ...]
    problem: str | None = None
    """Why the benchmark's database could not be read."""


@dataclass(frozen=True, kw_only=True)
class Machine(Response):
    """One VM."""

    ordinal: int
    """Number within the fleet; a replacement has a new one."""
    name: str
    """Name in Azure."""
    runner_id: int
    """`runner_id` in Powerlift's trial table."""
    placement: Placement
    state: str
    """refused, creating, running, failed or deleted."""
    attempt: int
    """1, or more for a replacement."""
    replaces: int | None = None
    """Ordinal of the VM that this one replaces."""
    created_at: datetime | None = None
    role_assigned_at: datetime | None = None
    running_at: datetime | None = None
    working_at: datetime | None = None
    """When the startup script began."""
    first_trial_at: datetime | None = None
    """When the first trial started; until then the VM installs packages."""
    ended_at: datetime | None = None
    deleted_at: datetime | None = None
    failure: MachineFailure | None = None
    outcome: str | None = None
    """How the startup script ended, in its own words."""
    trials: MachineTrials
    system: MachineSystem | None = None

    @property
    def brief(self) -> Mapping[str, object]:
        """What a table of VMs shows, by column."""
        why = self.failure and f"{self.failure.code}: {self.failure.message}"
        return {
            "VM": self.ordinal,
            "state": self.state,
            "placement": str(self.placement),
            "trials": self.trials.complete + self.trials.error,
            "failed": self.trials.error,
            "outcome": why or self.outcome,
        }


@dataclass(frozen=True)
class LogLine:
    """A line of a VM's console log."""

    machine: int
    """The VM's ordinal."""
    text: str
    """Without its end."""


@dataclass(frozen=True, kw_only=True)
class MachineList(Response):
    """All VMs of a fleet."""

    id: str
    machines: tuple[Machine, ...]
