"""The phases create and boot: create VMs in waves, then poll until they all run."""

from __future__ import annotations

from datetime import datetime

from fleet.model.failure import failure
from fleet.model.records import Failure
from fleet.model.state import FleetState
from orchestrators.patterns import (
    FAN_OUT,
    Context,
    FleetEnded,
    Orchestration,
    publish_status,
    sleep_unless,
)
from orchestrators.pipeline import Waves
from orchestrators.reconcile import (
    assign_missing_roles,
    check_cost,
    check_deadline,
    end_if_all_would_fail,
    give_up_roles,
    observe,
    poll_seconds,
    reconcile,
)
from orchestrators.snapshot import snapshot_if_stale

TURNS = 80
"""Waits per history, because every step replays all of it."""
FEWEST_TURNS = 10
VM_TURNS = 80_000
"""VMs that one replay passes over, turn by turn: the more VMs, the fewer turns. The write budget saves
up what the end of a history delays.
"""
POLL_SECONDS = 2.0
"""Between two looks whether the write budget allows more, if the fleet may ask at any time."""


def create(context: Context, fleet: FleetState, waves: Waves) -> Orchestration[bool]:
    """Run waves until every VM was requested. Returns whether the phase is over; if not, it continues in
    a new history.

    VMs for which Azure has no capacity now are left to `boot`.
    """
    for _ in range(turns(fleet)):
        yield from waves.start_roles()
        yield from waves.start_creates()
        if not waves.running and not wants_vms(context, fleet):
            return True
        paused = fleet.writes.paused_for(context.current_utc_datetime)
        yield from waves.wait(paused or budget_poll_seconds(fleet, context.current_utc_datetime))
        if list_is_due(context, fleet):
            yield from observe(context, fleet)
            yield from snapshot_if_stale(context, fleet)
            yield from end_if_all_would_fail(context, fleet)
        yield from give_up_roles(context, fleet, waves.assigning())
        publish_status(context, fleet, "create")
        if waves.cancel.is_completed:
            raise FleetEnded("cancelled")
        check_deadline(context, fleet)
        check_cost(context, fleet)
    yield from waves.drain()
    return False


def boot(context: Context, fleet: FleetState, waves: Waves) -> Orchestration[bool]:
    """Poll until every VM runs with its roles, or has failed without a replacement. Returns whether the
    phase is over.

    A fleet that is drained does not wait. Raises FleetEnded if fewer than `min_instances` VMs have
    started.
    """
    for _ in range(turns(fleet)):
        if fleet.drained or costs_too_much(context, fleet):
            return True
        waiting = fleet.count("creating") or fleet.vms_missing_roles()
        if not waiting and not wants_vms(context, fleet):
            started = fleet.count("running", "deleted")
            if started < fleet.order["min_instances"] and fleet.is_short():
                raise FleetEnded("failed", too_few_vms(fleet))
            return True
        if (yield from sleep_unless(context, waves.cancel, poll_seconds(fleet))):
            raise FleetEnded("cancelled")
        yield from reconcile(context, fleet, waves.cancel)
        yield from create_missing(context, fleet, waves)
        yield from snapshot_if_stale(context, fleet)
        yield from end_if_all_would_fail(context, fleet)
        publish_status(context, fleet, "boot")
        check_deadline(context, fleet)
        check_cost(context, fleet)
    return False


def costs_too_much(context: Context, fleet: FleetState) -> bool:
    """Whether VMs that still boot must be given up for max_cost, because there are no trials left."""
    step = fleet.cost_step(context.current_utc_datetime, poll_seconds(fleet))
    return step == "end" and not fleet.has_open_trials()


def create_missing(context: Context, fleet: FleetState, waves: Waves) -> Orchestration[None]:
    """Create the VMs that may be requested now, and assign their roles: pilots first, then those that
    waited for them.
    """
    for _ in range(2):
        if not (yield from waves.start_creates()):
            return
        yield from waves.drain()
        yield from assign_missing_roles(context, fleet, waves.cancel)


def turns(fleet: FleetState) -> int:
    """Waits of a history that begins with so many VMs."""
    return max(FEWEST_TURNS, min(TURNS, VM_TURNS // max(1, len(fleet.vms))))


def budget_poll_seconds(fleet: FleetState, now: datetime) -> float:
    """Until the next look whether the write budget allows more: each replays the history, at a cost in
    proportion to the VMs.
    """
    usual = max(POLL_SECONDS, len(fleet.vms) / 700)
    asks_in = fleet.writes.asks_in(now)
    return min(usual, asks_in) if asks_in else usual


def list_is_due(context: Context, fleet: FleetState) -> bool:
    """LIST between waves too, so that the next wave avoids what has just failed."""
    looked_at = fleet.observation.looked_at
    if looked_at is None:
        return True
    age = context.current_utc_datetime - datetime.fromisoformat(looked_at)
    return age.total_seconds() >= poll_seconds(fleet)


def wants_vms(context: Context, fleet: FleetState) -> bool:
    """Whether to request VMs, now or after a pause."""
    return fleet.can_retry() or bool(fleet.placements_for(FAN_OUT, context.current_utc_datetime))


def too_few_vms(fleet: FleetState) -> Failure:
    """Why fewer than `min_instances` VMs started: what stopped it, or the most frequent failure."""
    started, wanted = fleet.count("running", "deleted"), fleet.order["n_instances"]
    text = f"{started or 'None'} of the {wanted} VMs started."
    stopped = fleet.demand.stopped
    if stopped is not None:
        text, advice = f"{text} {stopped['message']}", stopped["advice"]
        return failure(stopped["code"], text, "fail_fleet", advice)
    for code, count in fleet.failures.most_frequent():
        return failure(code, f"{text} {count['message']}", "fail_fleet", count["advice"])
    return failure("TooFewMachines", text, "fail_fleet", "Check the app's log.")
