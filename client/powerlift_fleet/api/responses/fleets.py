"""Fleets: submissions, statuses, the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from powerlift_fleet.api.json_reader import Response

TERMINAL_PHASES = frozenset({"done", "cancelled", "failed"})


@dataclass(frozen=True, kw_only=True)
class Links(Response):
    """Absolute URLs of a fleet, without the function key."""

    self: str
    machines: str
    progress: str
    view: str
    """The web page."""
    cancel: str


def _handle(id_: str, number: int | None) -> str:
    return id_ if number is None else f"fleet-{number}"


@dataclass(frozen=True, kw_only=True)
class Submission(Response):
    """An accepted request."""

    id: str
    """The fleet ID: `fleet-7`."""
    number: int
    """The short number: `fleet-` and this number is another ID of the fleet."""
    batch_id: int
    links: Links
    created: bool = True
    """Set by the client: False if the fleet already existed. Not part of `raw`."""

    @property
    def handle(self) -> str:
        """The short ID: `fleet-` and the number."""
        return _handle(self.id, self.number)


@dataclass(frozen=True, kw_only=True)
class QueuedSubmission(Response):
    """A request on the storage queue, which the app has not read yet."""

    id: str
    batch_id: int
    message_id: str
    """Of the storage service: finds the reason if the app refuses the request."""


@dataclass(frozen=True, kw_only=True)
class Cancellation(Response):
    """An accepted cancellation."""

    id: str
    links: Links


@dataclass(frozen=True, kw_only=True)
class MachineCounts(Response):
    """VMs of a fleet by state, as in its list of VMs.

    `wanted` is the sum of `pending`, `creating`, `running`, `deleted` and the missing; `accepted` that
    of `creating`, `running`, `failed` and `deleted`.
    """

    wanted: int
    pending: int = 0
    """Not requested yet."""
    accepted: int
    """By Azure, in any later state."""
    role_assigned: int
    creating: int = 0
    """Accepted, and not running yet."""
    running: int
    failed: int
    """Accepted, then failed, whether they still exist or not."""
    deleted: int
    """Ended without a failure."""
    refused: int = 0
    """Never accepted."""


@dataclass(frozen=True, kw_only=True)
class TrialCounts(Response):
    """Trials of an experiment by state."""

    total: int
    ready: int
    running: int
    complete: int
    error: int

    @property
    def ended(self) -> int:
        """Complete, or ended with an error."""
        return self.complete + self.error

    @property
    def by_state(self) -> Mapping[str, int]:
        """All trials, in the words of the app's page and of the command line; their sum is `total`."""
        return {
            "complete": self.complete,
            "failed": self.error,
            "running": self.running,
            "ready": self.ready,
        }


@dataclass(frozen=True, kw_only=True)
class Placement(Response):
    """Where a VM runs."""

    location: str
    zone: str | None = None
    vm_size: str
    priority: str
    """`Regular` or `Spot`."""


@dataclass(frozen=True, kw_only=True)
class PlacementCounts(Response):
    """VMs in one placement."""

    placement: str
    """`eastus/1 Standard_D2s_v5 Spot`."""
    accepted: int
    failed: Mapping[str, int]
    """Failures by error code."""


@dataclass(frozen=True, kw_only=True)
class FailureGroup(Response):
    """Failures with the same error code."""

    code: str
    count: int
    message: str
    """Azure's latest message."""
    action: str
    """What the app did."""
    advice: str
    """What you can do."""


@dataclass(frozen=True, kw_only=True)
class Failure(Response):
    """Why a fleet failed. `raw` also has what the app's failure policy uses."""

    code: str
    message: str
    action: str
    advice: str
    """What you can do."""


@dataclass(frozen=True, kw_only=True)
class _FleetState(Response):
    """What a running fleet and the summary of an ended one have in common."""

    version: str | None = None
    """Version of the orchestrators that the fleet runs on."""
    phase: str
    """plan, network, create, boot, provisioned, run, teardown, done, cancelled or failed."""
    machines: MachineCounts
    missing: Mapping[str, int]
    """VMs that could not be provisioned, by error code."""
    placements: tuple[PlacementCounts, ...]
    trials: TrialCounts | None = None
    """None until the app has counted them."""
    failures: tuple[FailureGroup, ...]
    """The most frequent first."""
    warnings: tuple[str, ...]
    reason: Failure | None = None
    """Why the fleet failed."""
    ended_in: str | None = None
    """The phase in which the fleet failed or was cancelled."""
    provisioned_at: datetime | None = None
    """When every VM was running or had failed."""
    deadline: datetime | None = None
    """When all VMs are deleted, whether the trials have ended or not."""

    @property
    def is_terminal(self) -> bool:
        """Whether the fleet has ended: done, cancelled or failed."""
        return self.phase in TERMINAL_PHASES

    @property
    def is_timed_out(self) -> bool:
        """Whether the fleet failed because its `max_lifetime` passed with unfinished trials."""
        return self.reason is not None and self.reason.code == "DeadlineReached"

    @property
    def vms_by_state(self) -> Mapping[str, int]:
        """All VMs, in the words of the app's page and of the command line; see docs/view.md."""
        vms = self.machines
        return {
            "pending": vms.pending,
            "creating": vms.creating,
            "running": vms.running,
            "deleted": vms.deleted,
            "missing": sum(self.missing.values()),
            "failed": vms.failed,
            "refused": vms.refused,
        }


@dataclass(frozen=True, kw_only=True)
class Summary(_FleetState):
    """A fleet at its end."""

    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class FleetStatus(_FleetState):
    """A fleet now."""

    id: str
    batch_id: int
    experiment_id: int
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    """As in the list; None before, and while the app's database is unavailable."""
    stale_seconds: int | None = None
    """Seconds since `updated_at` if a running fleet has not reported for too long."""
    outcome: str | None = None
    """succeeded, some_trials_failed, all_trials_failed, failed or cancelled; None until it has ended."""
    summary: Summary | None = None
    """None until the fleet has ended."""
    number: int | None = None
    """The short number: `fleet-` and this number is another ID of the fleet."""
    name: str | None = None
    """The name that its request gave it."""
    portal: str | None = None
    """Its resource group in the Azure portal; None outside Azure's clouds."""
    links: Links

    @property
    def handle(self) -> str:
        """The short ID: `fleet-` and the number; the full ID while the app cannot read the number."""
        return _handle(self.id, self.number)

    @property
    def label(self) -> str:
        """The short ID, and the name if there is one: `fleet-7 (nightly)`."""
        return f"{self.handle} ({self.name})" if self.name else self.handle


@dataclass(frozen=True, kw_only=True)
class FleetListEntry(Response):
    """A fleet in a list, as it last reported."""

    id: str
    number: int
    """The short number: `fleet-` and this number is another ID of the fleet."""
    name: str | None = None
    batch_id: int
    experiment_id: int
    experiment_name: str | None = None
    submitted_by: str
    """A digest of the function key, a principal, or `queue`."""
    phase: str
    outcome: str | None = None
    """succeeded, some_trials_failed, all_trials_failed, failed or cancelled; None until it has ended."""
    machines: MachineCounts | None = None
    trials: TrialCounts | None = None
    cost: float | None = None
    """In US dollars, once the fleet has ended and if all prices are known."""
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    purged_at: datetime | None = None
    """When all but this entry was deleted."""
    links: Links

    @property
    def handle(self) -> str:
        """The short ID: `fleet-` and the number."""
        return _handle(self.id, self.number)

    @property
    def is_terminal(self) -> bool:
        """Whether the fleet has ended: done, cancelled or failed."""
        return self.phase in TERMINAL_PHASES


@dataclass(frozen=True, kw_only=True)
class FleetList(Response):
    """A page of fleets."""

    fleets: tuple[FleetListEntry, ...]
    next: str | None = None
    """The `cursor` of the next page."""
