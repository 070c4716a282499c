"""Responses of `GET /fleets/{id}/machines`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import Count, FleetId, Ordinal, Time
from fleet.model.records import Placement, State


class VmFailure(TypedDict):
    """Why a VM failed or was refused."""

    code: str
    """Azure's error code, or the app's own where Azure uses one code for several errors."""
    message: str
    """Azure's error message."""
    action: str
    """What the app did about it."""


class MachineTrials(TypedDict):
    """The trials that a VM claimed, by state."""

    running: Count
    """Started, not finished."""
    complete: Count
    """Finished without an error."""
    error: Count
    """Finished with an error."""


class MachineSystem(TypedDict):
    """What a VM runs on, as it reports it. Null: not known."""

    image: str | None
    """Publisher, offer and SKU of its image, or the ID of a gallery's image."""
    image_version: str | None
    """The image's exact version."""
    kernel: str | None
    """Release of the Linux kernel."""
    architecture: str | None
    """As `uname -m` prints it."""
    cpu_model: str | None
    """Model name of the processor, which a size does not determine."""
    cpus: Count | None
    """Processors that Linux sees."""
    memory_bytes: Count | None
    """Memory that Linux sees."""
    python: str | None
    """Version of the Python that runs the trials."""
    lock_digest: str | None
    """Digest of the lock whose packages it installed (`GET /fleets/{id}/lock`)."""


class Machine(TypedDict):
    """One VM. The record is at most one polling interval old."""

    ordinal: Ordinal
    """Its number within the fleet. A replacement VM has a new one."""
    name: Annotated[str, Field(examples=["powerlift-vm-7-0003"])]
    """Its name in Azure."""
    runner_id: Annotated[int, Field(ge=0, examples=[70003])]
    """Its ID in Powerlift's trial table."""
    placement: Placement
    """Its region, zone, size and priority."""
    state: State
    """`refused`: Azure never accepted it. `failed`: Azure accepted it, and `failure` says what happened;
    it may still exist. `deleted`: it ended without a failure, and no longer exists."""
    attempt: Annotated[int, Field(ge=1)]
    """1 for an initial VM, higher for replacements."""
    replaces: Ordinal | None
    """The ordinal of the VM that it replaces; null for an initial VM."""
    created_at: Time | None
    """When Azure accepted it; null for `refused`."""
    role_assigned_at: Time | None
    """When its roles were assigned, so that it can delete itself; null before."""
    running_at: Time | None
    """When it was first observed running; null before."""
    working_at: Time | None
    """When its startup script started, as reported by the VM; null before."""
    first_trial_at: Time | None
    """When its first trial started; null before, while it installs packages."""
    ended_at: Time | None
    """When its script exited or its failure was detected; null before."""
    deleted_at: Time | None
    """When it was first observed deleted; null before."""
    failure: VmFailure | None
    """Why it failed or was refused; null otherwise."""
    outcome: str | None
    """Why its script exited, as reported by the VM, or why its fleet deleted it; null before."""
    trials: MachineTrials
    """The trials that it claimed, by state."""
    system: MachineSystem | None
    """Processor, memory, image and packages; null before its script reports them."""


class Machines(TypedDict):
    """The VMs of a fleet, including failed ones."""

    id: FleetId
    """The fleet's ID."""
    machines: list[Machine]
    """In order of ordinal."""
