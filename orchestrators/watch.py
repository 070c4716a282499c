"""Phase 5: from the first trial to the last VM gone, one look per tick."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from activities.machines import list_machines
from activities.permissions import revoke_permissions
from activities.trials import count_trials, release_trials
from fleet.failures import failure
from fleet.records import Failure
from fleet.state import FleetState
from orchestrators.patterns import Context, Ended, Steps, attempt, settle, show, sleep_unless

TICKS = 60
"""Looks per history: each adds a dozen events, and every event is replayed at each step."""
GRACE = timedelta(minutes=10)
"""How long a VM may stay after the last trial: its role can take ten minutes to act."""
REVOKED_AT_ONCE = 25


def watch(context: Context, fleet: FleetState, cancel: Any) -> Steps:
    """Returns how the fleet ends ("done", "cancelled"), or None to go on in a new history.

    Raises Ended when it is over with trials still open.
    """
    show(context, fleet, "watch")
    for _ in range(TICKS):
        yield from look(context, fleet)
        show(context, fleet, "watch")
        ended = verdict(fleet, context.current_utc_datetime)
        if ended:
            return ended
        if (yield from sleep_unless(context, cancel, fleet.order["watch_seconds"])):
            return "cancelled"
    return None


def look(context: Context, fleet: FleetState) -> Steps:
    """One LIST and one count; then clean up after the VMs that are gone."""
    seen = yield from attempt(context, list_machines, {"order": fleet.order, "unknown": []})
    if seen["ok"]:
        fleet.lost(fleet.see(seen["states"], seen["identities"]))
    else:
        fleet.note(seen["failure"], "looked again at the next tick")
    counted = yield from attempt(context, count_trials, {"order": fleet.order})
    if counted["ok"]:
        fleet.trials = counted["trials"]
    else:
        fleet.note(counted["failure"], "counted again at the next tick")
    if not fleet.trials_left() and fleet.trials_ended_at is None:
        fleet.trials_ended_at = context.current_utc_datetime.isoformat()
    if fleet.unreleased:
        yield from clean_up(context, fleet)


def clean_up(context: Context, fleet: FleetState) -> Steps:
    """Take back the roles of VMs that are gone, and give back the trials they still held."""
    gone = list(fleet.unreleased)
    machines = [fleet.machines[ordinal] for ordinal in gone]
    known = [machine for machine in machines if machine["principal_id"]]
    calls = [
        (
            revoke_permissions,
            {"order": fleet.order, "machines": known[start : start + REVOKED_AT_ONCE]},
        )
        for start in range(0, len(known), REVOKED_AT_ONCE)
    ]
    revoked = yield from settle(context, calls)
    task = {"order": fleet.order, "ordinals": gone}
    released = yield from attempt(context, release_trials, task)
    if released["ok"] and all(result["ok"] for result in revoked):
        fleet.unreleased = [ordinal for ordinal in fleet.unreleased if ordinal not in gone]


def verdict(fleet: FleetState, now: datetime) -> str | None:
    """Whether it is over: nothing lives, the work is done, or the deadline has passed.

    Raises Ended where that leaves trials open.
    """
    if fleet.past_deadline(now):
        text = f"The deadline {fleet.order['deadline']} passed with trials still open."
        advice = "Submit the rest as a new batch, with more VMs or a longer max_lifetime."
        return _complete(fleet, failure("DeadlineReached", text, "fail_fleet", advice))
    if not fleet.living():
        text = "Every VM has ended, and trials are still open."
        advice = (
            "Look at the experiment's script and packages, then submit the rest as a new batch."
        )
        return _complete(fleet, failure("TrialsLeft", text, "fail_fleet", advice))
    if fleet.trials_ended_at is None:
        return None
    lingering = now - datetime.fromisoformat(fleet.trials_ended_at) > GRACE
    return "done" if lingering or not fleet.order["delete_on_complete"] else None


def _complete(fleet: FleetState, otherwise: Failure) -> str:
    if fleet.trials_left():
        raise Ended("failed", otherwise)
    return "done"
