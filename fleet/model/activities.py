"""The inputs and results of activities and sub-orchestrations, which orchestrators share with them.

An activity's result is `{"ok": true, …}`, as typed below, or `Failed`. Times are ISO 8601, durations
seconds. JSON objects that are keyed by ordinal have it as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from fleet.model.images import Image
from fleet.model.order_parts import (
    FleetRef,
    NetworkOrder,
    RecordOrder,
    RoleOrder,
    TeardownOrder,
    VmOrder,
    WritesOrder,
)
from fleet.model.records import (
    AcceptedVm,
    ExperimentError,
    Failure,
    Order,
    Price,
    RoleOutcome,
    Size,
    Trials,
    VmCounts,
    VmGrants,
    VmRequest,
    VmRoles,
)
from fleet.model.vm_list import VmList
from fleet.model.write_budget import Ask, Grant


class Ok(TypedDict):
    """An activity succeeded, with nothing more to report."""

    ok: Literal[True]


class Failed(TypedDict):
    """An activity failed, after its retries."""

    ok: Literal[False]
    failure: Failure


# plan_fleet


class PlanFleet(TypedDict):
    order: Order


class Resolved(TypedDict):
    """What the plan decided where the request left it open."""

    location: str | None
    """Null if neither the request nor the resource group provides it; then there is a fault."""
    n_instances: int
    """At most one per unfinished trial."""
    sizes: dict[str, Size]
    ssh_public_key: str
    client_principal_id: NotRequired[str | None]
    client_principal_type: NotRequired[str]
    prices: NotRequired[dict[str, Price]]
    image: NotRequired[Image]
    """In the version that all VMs boot."""


class PlanCheck(TypedDict):
    name: str
    status: str
    """`fault`, `warning` or `unknown`; checks that are ok are left out."""
    detail: str
    advice: str


class FleetPlanned(Ok):
    resolved: Resolved
    trials: Trials | None
    checks: list[PlanCheck]
    faults: list[Failure]
    """Why the fleet cannot work; empty if it can."""


# ensure_network


class EnsureNetwork(TypedDict):
    order: NetworkOrder
    location: str


class NetworkState(Ok):
    ready: bool
    retry_after: float
    """To the next call, while it is not ready."""


# create_vm, delete_nics


class CreateVm(TypedDict):
    order: VmOrder
    request: VmRequest


class VmAccepted(Ok):
    vm: AcceptedVm


class VmOrdinals(TypedDict):
    order: FleetRef
    ordinals: list[int]


# take_writes


class TakeWrites(TypedDict):
    order: WritesOrder
    ask: Ask


class WritesGranted(Ok):
    grant: Grant


# list_vms, inspect_vms, delete_vm, save_logs


class ListVms(TypedDict):
    order: FleetRef
    unidentified: list[int]
    """Ordinals of VMs whose identity is not known yet."""
    max_age: NotRequired[float]
    """How many seconds ago the LIST may have begun; 0 if absent."""


class VmsListed(Ok):
    states: dict[str, list[int]]
    """Ordinals by provisioning state."""
    identities: dict[str, tuple[str | None, str]]
    """Principal id and creation time of the `unidentified` VMs, by ordinal."""
    age: NotRequired[float]
    """Seconds since the LIST began."""
    group_size: NotRequired[int]
    """VMs in the resource group, of all fleets and others."""


class VmsInspected(Ok):
    failures: dict[str, Failure]
    """Why Azure failed to start VMs, by ordinal; without those for which it gives no reason."""


class DeleteVm(TypedDict):
    order: FleetRef
    ordinal: int


class FailedVm(TypedDict):
    ordinal: int
    reason: Failure


class SaveLogs(TypedDict):
    order: FleetRef
    vms: list[FailedVm]


class LogsSaved(Ok):
    saved: int


# assign_permissions, revoke_permissions


class AssignPermissions(TypedDict):
    order: RoleOrder
    vm: VmGrants


class PermissionsAssigned(Ok):
    assigned: list[int]
    """The role assignments that exist now, as in `Vm`."""
    failures: list[Failure]
    """Why the others do not."""


class RevokePermissions(TypedDict):
    order: RoleOrder
    vms: list[VmGrants]


# record_snapshot, release_trials


class RecordSnapshot(TypedDict):
    order: RecordOrder
    phase: str
    counts: VmCounts | None
    """The fleet's VMs by state; null if another part of the snapshot has them."""
    vms: VmList
    """Of `StoredVm`s, as they are `at` that time."""
    recorded: list[str]
    """The lifecycle of each VM when it was last recorded."""
    at: str
    counts_trials: bool
    last_count: Trials | None
    """The previous count, for metrics."""
    reads_heartbeats: bool


class SnapshotRecorded(Ok):
    trials: Trials | None
    """Null if not counted, or if the experiment was deleted."""
    vms_failure: Failure | None
    """Why the VMs were not recorded."""
    silent: NotRequired[list[int]]
    done: NotRequired[list[int]]
    """Ordinals, as in `heartbeats.IdleVms`; both are absent if the heartbeats could not be read."""
    experiment_errors: NotRequired[list[ExperimentError]]
    at_work: NotRequired[list[int]]
    """As in `heartbeats.ReportedErrors`; both are absent if there are none."""
    waiting: NotRequired[int]
    """How many of the ready trials wait for a VM of regular priority; absent if none does."""


class ReleaseTrials(TypedDict):
    order: FleetRef
    ordinals: list[int] | None
    """Null: all ordinals of the batch."""
    reasons: dict[str, str] | None
    """By ordinal: why the VM was deleted. Null if that does not count against its trial."""


class TrialsReleased(Ok):
    interrupted: list[int]
    """Ordinals of the VMs that were running a trial."""
    outcomes: dict[str, str | None]
    """By ordinal, of VMs whose script ended by itself: why, or null if there was no more work."""
    failed: NotRequired[int]
    """Trials that were marked as failed; absent if none was."""
    waiting: NotRequired[int]
    """As in `SnapshotRecorded`, if any VM was running a trial."""
    wrong_cpus: NotRequired[list[int]]
    """Ordinals of those whose processor the request does not allow."""


# drain_vms


class DrainVms(TypedDict):
    order: FleetRef
    ordinals: list[int]
    reason: str


class VmsDraining(Ok):
    busy: list[int]
    """Ordinals of the VMs that run a trial, and start no other one."""


# was_cancelled, report_completion


class WasCancelled(TypedDict):
    batch_id: int
    since: str
    """The fleet's creation: an older mark belongs to an earlier fleet of the batch."""


class CancelChecked(Ok):
    cancelled: bool


class ReportCompletion(TypedDict):
    order: RecordOrder
    phase: str
    counts: VmCounts
    trials: Trials | None
    reason: Failure | None
    started_at: str
    ended_at: str
    cost: float | None
    """In US dollars; null if a price is unknown, or no VM was created."""


# list_owned_resources, delete_owned_resources


class Teardown(TypedDict):
    """Also the input of `teardown_fleet`."""

    order: TeardownOrder
    keep_machines: bool
    """Whether to delete only NICs and disks without a VM."""
    progress: NotRequired[Mapping[str, Any]]
    """In later histories of `teardown_fleet`: what the earlier ones have done."""


ResourceKind = Literal["machine", "assignment", "disk", "nic"]
"""In order of deletion: a VM costs most, and its deletion removes its disk and NIC."""


class ResourceRef(TypedDict):
    """A resource to delete."""

    kind: ResourceKind
    name: str
    scope: NotRequired[str]
    """Of a role assignment."""


class OwnedResources(Ok):
    delete: list[ResourceRef]
    """Those that can be deleted now."""
    waiting: int
    """How many more there are: Azure deletes them with their VM, or their turn comes later."""
    machines: int | None
    """VMs, including those that are being deleted; null with `keep_machines`."""


class DeleteOwnedResources(TypedDict):
    order: FleetRef
    resources: list[ResourceRef]


class OwnedResourcesDeleted(Ok):
    deleted: int
    """Deletions that started, and resources that no longer existed."""
    refused: dict[str, int]
    """By code."""
    retry_after: float | None
    """Azure's `Retry-After` in seconds, if it throttled a deletion."""


# The sub-orchestrations create_wave, assign_wave and teardown_fleet, and the result of run_fleet


class CreateWave(TypedDict):
    order: VmOrder
    requests: list[VmRequest]


class Refusal(TypedDict):
    request: VmRequest
    failure: Failure


class WaveResult(TypedDict):
    vms: list[AcceptedVm]
    refusals: list[Refusal]


class AssignWave(TypedDict):
    order: RoleOrder
    vms: list[VmRoles]
    """In order of creation."""


class RolesAssigned(TypedDict):
    vms: list[RoleOutcome]


class TeardownResult(TypedDict):
    ok: bool
    deleted: int
    left: list[Mapping[str, object]]
    """What the teardown could not delete, or the failure that prevents it from looking."""
    machines: int | None
    """VMs that still exist, including those that are being deleted; null if unknown or kept."""
    unreleased: Failure | None
    """Why the VMs' trials could not be released."""
