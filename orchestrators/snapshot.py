"""Snapshots: the trials are counted, and VMs that have changed are recorded in the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from activities.snapshot import record_snapshot
from fleet.model.activities import Failed, RecordSnapshot, SnapshotRecorded
from fleet.model.order_parts import RecordOrder, part_of
from fleet.model.records import Vm, lifecycle, stored
from fleet.model.state import FleetState
from fleet.model.vm_counts import vm_counts
from fleet.model.vm_list import shortened
from orchestrators.patterns import MAX_TRIES, Context, Orchestration, chunks, settle

VMS_PER_ACTIVITY = 75
"""At 300 bytes each. A message above 45 KB goes through a blob, which is slower."""
RETRIED = "retried at the next poll"
CONTINUED = "continued; the list of VMs may be out of date"


def take_snapshot(
    context: Context, fleet: FleetState, max_tries: int = MAX_TRIES, action: str = RETRIED
) -> Orchestration[bool]:
    """Count the trials and record the changed VMs. Returns whether the trials were counted.

    VMs that could not be recorded are recorded with the next snapshot. `action`: what the fleet does if
    the count fails, as in `FailureCounts.add`.
    """
    at = fleet.snapshot_at = context.current_utc_datetime.isoformat()
    parts = chunks(fleet.unrecorded_vms(), VMS_PER_ACTIVITY) or [[]]
    calls = [
        (record_snapshot, _task(fleet, part, at, first=index == 0))
        for index, part in enumerate(parts)
    ]
    results: list[SnapshotRecorded | Failed] = yield from settle(context, calls, max_tries)
    failures = [(result["failure"], action) for result in results if not result["ok"]]
    for part, result in zip(parts, results, strict=True):
        if result["ok"] and result["vms_failure"]:
            failures.append((result["vms_failure"], CONTINUED))
        elif result["ok"]:
            for vm in part:
                vm["recorded"] = lifecycle(vm)
    fleet.snapshot_ok = not failures
    if failures:
        fleet.failures.add(*failures[0])
    first = results[0]
    if first["ok"]:
        fleet.trials = first["trials"]
        fleet.observation.apply_heartbeats(
            fleet.vms, first.get("silent", []), first.get("done", [])
        )
        fleet.observation.experiment_errors = first.get("experiment_errors", [])
        fleet.observation.at_work = first.get("at_work", [])
        fleet.observation.waiting_trials = first.get("waiting", 0)
    else:
        fleet.observation.apply_heartbeats(fleet.vms, [], [])
    return first["ok"]


def snapshot_if_stale(context: Context, fleet: FleetState) -> Orchestration[None]:
    """`take_snapshot` if VMs have changed or the last one is old: with one try, because an unreachable
    database must not delay the creation of VMs.
    """
    last = fleet.snapshot_at and datetime.fromisoformat(fleet.snapshot_at)
    age = (context.current_utc_datetime - last).total_seconds() if last else float("inf")
    stale = age >= fleet.order["run_poll_seconds"]
    if stale or (fleet.snapshot_ok and fleet.unrecorded_vms()):
        yield from take_snapshot(context, fleet, max_tries=1)


def _task(fleet: FleetState, vms: Sequence[Vm], at: str, *, first: bool) -> RecordSnapshot:
    return {
        "order": part_of(fleet.order, RecordOrder),
        "phase": fleet.phase,
        "counts": vm_counts(fleet) if first else None,
        "vms": shortened(fleet.order, map(stored, vms)),
        "recorded": [vm["recorded"] for vm in vms],
        "at": at,
        "counts_trials": first,  # once: counting 100,000 trials takes 0.2 s
        "last_count": fleet.trials if first else None,
        "reads_heartbeats": first and fleet.phase == "run",
    }
