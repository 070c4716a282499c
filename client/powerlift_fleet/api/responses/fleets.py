"""Fleets: statuses, the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from powerlift_fleet.api import html
from powerlift_fleet.api.json_reader import Response
from powerlift_fleet.api.responses.submissions import Links, handle_of, label_of

TERMINAL_PHASES = frozenset({"done", "cancelled", "failed"})


class Bar(NamedTuple):
    """Progress: what is done of `total`, by state; all is empty while it is unknown."""

    parts: Mapping[str, int]
    total: int
    detail: str
    """The counts of all states."""

    @property
    def done(self) -> int:
        return min(self.total, sum(self.parts.values()))

    @property
    def text(self) -> str:
        share = f"{self.done}/{self.total}" if self.total else ""
        return ", ".join(filter(None, [share, self.detail]))


def _advised(failure: Failure | FailureGroup) -> str:
    return f"{failure.message.rstrip('.')}. {failure.advice}".strip()


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)


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

    @property
    def bar(self) -> Bar:
        """The trials that have ended, of all."""
        ended = {"complete": self.complete, "failed": self.error}
        return Bar(ended, self.total, _counts(self.by_state))


@dataclass(frozen=True, kw_only=True)
class Placement(Response):
    """Where a VM runs."""

    location: str
    zone: str | None = None
    vm_size: str
    priority: str
    """`Regular` or `Spot`."""

    def __str__(self) -> str:
        """`eastus/1 Standard_D2s_v5 Spot`, as in the fleet's placements."""
        zone = f"/{self.zone}" if self.zone else ""
        spot = " Spot" if self.priority == "Spot" else ""
        return f"{self.location}{zone} {self.vm_size}{spot}"


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
    """Why a fleet failed."""

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

    def explains(self, failure: FailureGroup) -> bool:
        """Whether the reason has the message of a failure."""
        why = self.reason
        said = failure.message.removesuffix("...")
        return why is not None and why.code == failure.code and said in why.message

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

    @property
    def bars(self) -> Mapping[str, Bar]:
        """Progress: VMs that have started, of those wanted; trials that have ended, of all."""
        vms = self.machines
        started = {"running": vms.running, "deleted": vms.deleted}
        return {
            "VMs": Bar(started, vms.wanted, _counts(self.vms_by_state)),
            "trials": self.trials.bar if self.trials else Bar({}, 0, ""),
        }

    @property
    def failures_by_code(self) -> str:
        """`3 x SkuNotAvailable, 1 x VmLost`; empty without failures."""
        return ", ".join(f"{one.count} x {one.code}" for one in self.failures)

    @property
    def where_errors_are(self) -> str:
        """Where the errors of the trials are; empty until the fleet has ended, and if none failed."""
        if self.trials is None or not self.trials.error or not self.is_terminal:
            return ""
        return (
            f"{self.trials.error} of {self.trials.total} trials failed: run.status(), or "
            "trial_status(store, NAME) of powerlift_fleet, has the errmsg of each."
        )


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
        return handle_of(self.id, self.number)

    @property
    def label(self) -> str:
        """The short ID, and the name if there is one: `fleet-7 (nightly)`."""
        return label_of(self.id, self.number, self.name)

    def _repr_html_(self) -> str:
        """For notebooks."""
        rows: list[list[object]] = [[html.bold(self.label), self.outcome or self.phase]]
        for name, bar in self.bars.items():
            rows.append([name, html.progress(bar.done, bar.total), bar.text])
        if self.reason is not None:
            rows.append(["reason", html.bold(self.reason.code), _advised(self.reason)])
        rows += [["failures", f"{one.count} x {one.code}", _advised(one)] for one in self.failures]
        rows += [["errors", "", self.where_errors_are]] if self.where_errors_are else []
        return html.table(rows)


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
        return handle_of(self.id, self.number)

    @property
    def is_terminal(self) -> bool:
        """Whether the fleet has ended: done, cancelled or failed."""
        return self.phase in TERMINAL_PHASES

    @property
    def brief(self) -> Mapping[str, object]:
        """What a table of fleets shows, by column."""
        vms, trials = self.machines, self.trials
        return {
            "fleet": self.handle,
            "name": self.name,
            "experiment": self.experiment_name or self.experiment_id,
            "phase": self.outcome or self.phase,
            "VMs": vms and f"{vms.running + vms.deleted}/{vms.wanted}",
            "trials": trials and f"{trials.ended}/{trials.total}",
            "failed": trials and trials.error,
            "cost": self.cost,
            "created": self.created_at,
        }


@dataclass(frozen=True, kw_only=True)
class FleetList(Response):
    """A page of fleets."""

    fleets: tuple[FleetListEntry, ...]
    next: str | None = None
    """The `cursor` of the next page."""
