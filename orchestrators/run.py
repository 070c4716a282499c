"""Phase 5: from the first trial to the last VM gone, one look per tick."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from activities.role_assignments import revoke_permissions
from activities.trials import release_trials
from fleet.model.failure import failure
from fleet.model.placement import label
from fleet.model.records import Machine
from fleet.model.state import FleetState
from fleet.model.status import why_no_more
from orchestrators.create import fill
from orchestrators.patterns import (
    Context,
    FleetEnded,
    Orchestration,
    attempt,
    settle,
    show,
    sleep_unless,
)
from orchestrators.reconcile import check_deadline, delete, give_up, note_lost, reconcile
from orchestrators.snapshot import take_snapshot

TICKS = 20
"""Looks per history: each adds a dozen events, and every event is replayed at each step. A new
history also shows the VMs' records to the world as they are now."""
GRACE = timedelta(minutes=10)
"""How long a VM may stay after the last trial: its role can take ten minutes to act."""
SEE_LOG = "Look at the VM's log; it is kept after its end."
REVOKED_AT_ONCE = 10
"""VMs per activity; their roles are taken back side by side."""


def run(context: Context, fleet: FleetState, cancel: Any) -> Orchestration:
    """Returns whether the fleet is done; if not, it goes on in a new history, or is cancelled.

    Raises FleetEnded when it is over with trials still open.
    """
    show(context, fleet, "run")
    for _ in range(TICKS):
        yield from reconcile(context, fleet)
        counted = yield from count_and_clean_up(context, fleet)
        if not cancel.is_completed:
            yield from fill(context, fleet, cancel)
        show(context, fleet, "run")
        check_deadline(context, fleet)
        if is_over(fleet, context.current_utc_datetime, counted):
            return True
        tick = fleet.order["run_poll_seconds"]
        if (yield from sleep_unless(context, cancel, tick, longest=tick)):
            break
    return False


def count_and_clean_up(context: Context, fleet: FleetState) -> Orchestration:
    """Take a snapshot, and clean up after deleted VMs. Returns whether the trials were counted."""
    counted = yield from take_snapshot(context, fleet)
    if fleet.trials_left():
        fleet.trials_ended_at = None  # somebody may have added some
    elif fleet.trials_ended_at is None:
        fleet.trials_ended_at = context.current_utc_datetime.isoformat()
    yield from end_idle(context, fleet)
    if fleet.unreleased:
        yield from clean_up(context, fleet)
    return counted


def end_idle(context: Context, fleet: FleetState) -> Orchestration:
    """Give up the VMs that are silent, whatever they hold, and delete those that are done."""
    mute = fleet.silent_vms()
    if mute:
        text = (
            "The VM runs, and its script gives no sign of life: it may hang, or never have begun."
        )
        yield from give_up(context, fleet, mute, failure("VmSilent", text, "replace", SEE_LOG))
    yield from delete(context, fleet, fleet.done)


def clean_up(context: Context, fleet: FleetState) -> Orchestration:
    """Take back the roles of VMs that are gone, and give back the trials they still held."""
    deleted = list(fleet.unreleased)
    machines = [fleet.machines[ordinal] for ordinal in deleted]
    known = [machine for machine in machines if machine["principal_id"]]
    calls = [
        (
            revoke_permissions,
            {"order": fleet.order, "machines": known[start : start + REVOKED_AT_ONCE]},
        )
        for start in range(0, len(known), REVOKED_AT_ONCE)
    ]
    results = yield from settle(context, calls)
    reasons = {str(machine["ordinal"]): _why_gone(machine) for machine in machines}
    task = {"order": fleet.order, "ordinals": deleted, "reasons": reasons}
    released = yield from attempt(context, release_trials, task)
    if released["ok"]:
        quit_ = released["quit"]
        there = [ordinal for ordinal in deleted if str(ordinal) not in quit_]
        lost = [ordinal for ordinal in there if _was_lost(fleet, ordinal, released["held"])]
        note_lost(context, fleet, lost, ran=True)
        note_failed(context, fleet, quit_)
    for result in (*results, released):
        if not result["ok"]:
            fleet.note(result["failure"], "tried again at the next tick")
    if released["ok"] and all(result["ok"] for result in results):
        fleet.unreleased = [ordinal for ordinal in fleet.unreleased if ordinal not in deleted]


def note_failed(context: Context, fleet: FleetState, outcomes: Mapping[str, str | None]) -> None:
    """VMs whose script could not do its work, in its own words. Another would meet the same."""
    for ordinal, outcome in outcomes.items():
        machine = fleet.machines[int(ordinal)]
        if outcome is None or machine["ended"] is not None:
            continue
        reason = failure("ScriptFailed", f"{machine['name']}: {outcome}", "fail_machine", SEE_LOG)
        fleet.fail(int(ordinal), reason, context.current_utc_datetime, ran=True)


def _why_gone(machine: Machine) -> str:
    """For the trial that a VM held: in the words that its user reads in the results."""
    where = f"{machine['name']} ({label(machine['placement'])})"
    ended = machine["ended"]
    if ended is None:
        return f"{where}, which went without a word."
    return f"{where}: {ended['code']}: {ended['message']}"


def _was_lost(fleet: FleetState, ordinal: int, held: list[int]) -> bool:
    """Whether a VM that is gone did not end by itself: it held a trial, or is a Spot VM and went while
    trials were to be had.
    """
    machine = fleet.machines[ordinal]
    if machine["ended"] is not None:
        return False  # we know already why
    left = fleet.trials is not None and fleet.trials["ready"] > 0
    return ordinal in held or (machine["placement"]["priority"] == "Spot" and left)


def is_over(fleet: FleetState, now: datetime, counted: bool) -> bool:
    """Whether the work is done, or nothing lives that could do it.

    Raises FleetEnded where that leaves trials open, by a count that was `counted` just now: an older one
    says nothing of what the last VMs have done.
    """
    if not fleet.living():
        if fleet.trials_left() and not counted and not fleet.past_deadline(now):
            return False
        if fleet.trials_left() and fleet.again and not fleet.stopped:
            return False  # Azure has no ear for now
        if fleet.trials_left():
            text = "Every VM has ended, and trials are still open."
            if fleet.openings or fleet.stopped:
                text += f" No other could be had: {why_no_more(fleet)}."
            advice = "Look at the experiment's script and packages; submit the rest as a new batch."
            raise FleetEnded("failed", failure("TrialsLeft", text, "fail_fleet", advice))
        return True
    if fleet.past_deadline(now):
        return True
    if fleet.trials_ended_at is None or fleet.deleting or fleet.unreleased:
        return False
    lingering = now - datetime.fromisoformat(fleet.trials_ended_at) > GRACE
    return lingering or not fleet.order["delete_on_complete"]
