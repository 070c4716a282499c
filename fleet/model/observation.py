"""The state of a fleet's VMs, as observed in Azure's LISTs and in heartbeats."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from fleet.model.records import ExperimentError, Vm

SILENT_COUNTS = 10
"""Snapshots in a row, minutes apart, that must find a VM silent: time for the VMs to report again after
a database outage.
"""
CLOCK_ERROR = 1.0
"""Seconds by which the clocks of two hosts may differ: a fleet moves between them."""
_UP = ("Succeeded", "Updating", "Deleting")
LIVING = ("creating", "running")
"""States of VMs that exist, or soon will."""


class Changes(NamedTuple):
    """The changes that a LIST shows."""

    started: list[Vm]
    failed: list[int]
    """Ordinals of VMs that Azure accepted, then failed to start."""
    vanished: list[int]
    """Ordinals of VMs that were deleted before they ran."""
    unwanted: list[int]
    """Ordinals of VMs that exist, and are unknown or abandoned."""


@dataclass
class Observation:
    """All times are ISO 8601."""

    listed_at: str | None = None
    """The beginning of the last LIST that succeeded: what it shows is not older."""
    looked_at: str | None = None
    """When its result was applied."""
    changed_at: str | None = None
    """When the fleet last created or deleted VMs."""
    group_size: int = 0
    """VMs in the resource group, also of other fleets."""
    next_list_at: str | None = None
    """Azure throttles LISTs until then."""
    absent: list[int] = field(default_factory=list)
    """Ordinals that the last LIST did not show."""
    deleting: list[int] = field(default_factory=list)
    """Ordinals of abandoned VMs that may still exist."""
    to_clean_up: list[int] = field(default_factory=list)
    """Ordinals of deleted VMs whose roles and trials are still to be released."""
    silent: dict[str, int] = field(default_factory=dict)
    """By ordinal: how many snapshots in a row found no heartbeat."""
    done: list[int] = field(default_factory=list)
    """Ordinals of VMs whose script has ended and which failed to delete themselves."""
    experiment_errors: list[ExperimentError] = field(default_factory=list)
    """Those that the last snapshot found, and that were not handled yet."""
    at_work: list[int] = field(default_factory=list)
    """With such errors: ordinals of the VMs that have started a trial."""
    waiting_trials: int = 0
    """Of the ready trials: those that have lost two VMs, and wait for one of regular priority."""

    def apply_list(
        self, vms: Mapping[int, Vm], states: Mapping[str, Iterable[int]], pending: Container[int]
    ) -> Changes:
        """Update the VMs from a LIST, made at `listed_at`: ordinals by provisioning state. `pending`:
        ordinals of VMs that were requested, and may exist.

        A VM counts as deleted when two LISTs in a row do not show it: a LIST may lag behind a PUT.
        """
        shown = {ordinal: state for state, ordinals in states.items() for ordinal in ordinals}
        # Of the VMs that boot: in one that runs, `Failed` means that an update failed.
        creating = [vm for vm in vms.values() if vm["state"] == "creating"]
        started = [vm for vm in creating if shown.get(vm["ordinal"]) in _UP]
        failed = [vm["ordinal"] for vm in creating if shown.get(vm["ordinal"]) == "Failed"]
        for vm in started:
            vm["state"], vm["running_at"] = "running", self.listed_at
        vanished = self._apply_absences(vms, shown)
        unwanted = [
            ordinal
            for ordinal, state in shown.items()
            if state != "Deleting"
            and ordinal not in pending
            and not (ordinal in vms and is_living(vms[ordinal]))
        ]
        return Changes(started, failed, vanished, unwanted)

    def _apply_absences(self, vms: Mapping[int, Vm], shown: Container[int]) -> list[int]:
        """Mark VMs that are absent for the second time as deleted. Returns those that never ran."""
        living = [ordinal for ordinal, vm in vms.items() if is_living(vm)]
        absent = [ordinal for ordinal in (*living, *self.deleting) if ordinal not in shown]
        deleted = [ordinal for ordinal in absent if ordinal in self.absent]
        vanished = [ordinal for ordinal in deleted if vms[ordinal]["state"] == "creating"]
        for ordinal in deleted:
            if ordinal in self.deleting:
                self.deleting.remove(ordinal)
            else:
                vms[ordinal]["state"] = "deleted"
            vms[ordinal]["deleted_at"] = self.listed_at
        self.to_clean_up += deleted
        self.absent = [ordinal for ordinal in absent if ordinal not in deleted]
        return vanished

    def apply_heartbeats(
        self, vms: Container[int], silent: Iterable[int], done: Iterable[int]
    ) -> None:
        """Update from a snapshot: both empty if the database did not respond, because a VM cannot send
        heartbeats then.

        Ignores ordinals that are not the fleet's: VMs may write the table that they come from.
        """
        known = [str(ordinal) for ordinal in silent if ordinal in vms]
        self.silent = {ordinal: self.silent.get(ordinal, 0) + 1 for ordinal in known}
        self.done = [ordinal for ordinal in done if ordinal in vms]

    def silent_vms(self, vms: Mapping[int, Vm]) -> list[int]:
        """Ordinals of running VMs that SILENT_COUNTS snapshots in a row found silent."""
        silent = [int(ordinal) for ordinal, count in self.silent.items() if count >= SILENT_COUNTS]
        return [ordinal for ordinal in silent if vms[ordinal]["state"] == "running"]

    def max_age(self, now: datetime, poll_seconds: float) -> float:
        """How many seconds ago a LIST that other fleets share may have begun, at most `poll_seconds`.

        It must have begun after the fleet applied its last LIST: two LISTs in a row that do not show a
        VM must not be one. And after the fleet last created or deleted VMs, to show their effect.
        """
        known = [
            datetime.fromisoformat(at) for at in (self.looked_at, self.changed_at) if at is not None
        ]
        if not known:
            return 0.0
        age = (now - max(known)).total_seconds() - CLOCK_ERROR
        return min(max(0.0, age), poll_seconds)

    def list_is_throttled(self, now: datetime) -> bool:
        return self.next_list_at is not None and now < datetime.fromisoformat(self.next_list_at)


def is_living(vm: Vm) -> bool:
    return vm["state"] in LIVING
