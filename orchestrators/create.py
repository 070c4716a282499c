"""The phases create and boot: request VMs in waves, then poll until they all run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from fleet.model import names
from fleet.model.activities import CreateWave, WaveResult
from fleet.model.failure import failure
from fleet.model.records import Failure, Placement, VmRequest
from fleet.model.state import FleetState
from fleet.model.write_budget import BURST, writes_per_vm
from orchestrators import network
from orchestrators.patterns import (
    FAN_OUT,
    LONGEST_BACKOFF,
    Context,
    FleetEnded,
    Orchestration,
    failure_of,
    publish_status,
    sleep_unless,
)
from orchestrators.reconcile import check_deadline, give_up_roles, observe, reconcile
from orchestrators.role_assignment_order import pause_if_throttled
from orchestrators.snapshot import snapshot_if_stale
from orchestrators.wave import create_wave

TURNS = 40
"""Waves or polls per history, because every step replays all of it."""
ROLE_POLL_SECONDS = 5.0
"""Between two attempts to assign roles while the limit of VMs without roles is reached."""


def create(context: Context, fleet: FleetState, cancel: Any) -> Orchestration[bool]:
    """Send waves until every VM was requested. Returns whether the phase is over; if not, it continues
    in a new history.

    VMs for which Azure has no capacity now are left to `boot`.
    """
    for _ in range(TURNS):
        if not wants_vms(context, fleet):
            return True
        paused = fleet.writes.paused_for(context.current_utc_datetime)
        if paused:
            yield from sleep_unless(context, cancel, min(paused, LONGEST_BACKOFF))
        elif max_vms_without_role(fleet) > len(fleet.vms_without_role()):
            yield from send_wave(context, fleet, cancel)
        else:
            yield from sleep_unless(context, cancel, ROLE_POLL_SECONDS)
        if list_is_due(context, fleet):
            yield from observe(context, fleet)
        yield from give_up_roles(context, fleet)
        yield from snapshot_if_stale(context, fleet)
        publish_status(context, fleet, "create")
        if cancel.is_completed:
            raise FleetEnded("cancelled")
        check_deadline(context, fleet)
    return False


def boot(context: Context, fleet: FleetState, cancel: Any) -> Orchestration[bool]:
    """Poll until every VM runs with its roles, or has failed without a replacement. Returns whether the
    phase is over.

    Raises FleetEnded if fewer than `min_instances` VMs have started.
    """
    for _ in range(TURNS):
        waiting = fleet.count("creating") or fleet.vms_missing_roles()
        if not waiting and not wants_vms(context, fleet):
            started = fleet.count("running", "deleted")
            if started < fleet.order["min_instances"] and fleet.is_short():
                raise FleetEnded("failed", too_few_vms(fleet))
            return True
        if (yield from sleep_unless(context, cancel, poll_seconds(fleet))):
            raise FleetEnded("cancelled")
        yield from reconcile(context, fleet)
        yield from send_wave(context, fleet, cancel)
        yield from snapshot_if_stale(context, fleet)
        publish_status(context, fleet, "boot")
        check_deadline(context, fleet)
    return False


def poll_seconds(fleet: FleetState) -> float:
    """Between two LISTs: with 50 VMs on a page, this uses half of Azure's 300 pages a minute."""
    return max(fleet.order["boot_poll_seconds"], len(fleet.living_vms()) / 50 * 0.4)


def list_is_due(context: Context, fleet: FleetState) -> bool:
    """LIST between waves too, so that the next wave avoids what has just failed."""
    listed_at = fleet.observation.listed_at
    if listed_at is None:
        return True
    age = context.current_utc_datetime - datetime.fromisoformat(listed_at)
    return age.total_seconds() >= poll_seconds(fleet)


def wants_vms(context: Context, fleet: FleetState) -> bool:
    """Whether to request VMs, now or after a pause."""
    return fleet.can_retry() or bool(fleet.placements_for(FAN_OUT, context.current_utc_datetime))


def max_vms_without_role(fleet: FleetState) -> int:
    """How many VMs may be without their roles at once."""
    return max(1, min(fleet.order["max_undead"], FAN_OUT, BURST // writes_per_vm(fleet.order)))


def send_wave(context: Context, fleet: FleetState, cancel: Any) -> Orchestration[None]:
    """Send one wave, within the limits of VMs without roles, placements and writes; after an outage of
    Azure, a single VM.
    """
    if fleet.writes.paused_for(context.current_utc_datetime):
        return
    room = max_vms_without_role(fleet) - len(fleet.vms_without_role())
    if fleet.writes.outage_since:
        room = 1
    retries = fleet.take_retries(max(0, room))
    placements = yield from _placements_with_network(
        context, fleet, cancel, max(0, room - len(retries))
    )
    writes = (len(retries) + len(placements)) * writes_per_vm(fleet.order)
    if not writes:
        return
    rate = fleet.order["writes_per_second"]
    wait = fleet.writes.spend(writes, rate, context.current_utc_datetime)
    if wait > 0 and (yield from sleep_unless(context, cancel, wait)):
        raise FleetEnded("cancelled")
    with_nic = fleet.demand.ordinals_with_nic()
    yield from run_wave(context, fleet, [*retries, *fleet.demand.request(placements)], with_nic)


def _placements_with_network(
    context: Context, fleet: FleetState, cancel: Any, count: int
) -> Orchestration[Sequence[Placement]]:
    placements = fleet.placements_for(FAN_OUT, context.current_utc_datetime)[:count]
    for location in dict.fromkeys(placement["location"] for placement in placements):
        reason = yield from network.provision(context, fleet, cancel, location)
        if reason is not None:
            placements = [one for one in placements if one["location"] != location]
            network.exclude(context, fleet, location, reason)
    return placements


def run_wave(
    context: Context, fleet: FleetState, requests: list[VmRequest], with_nic: set[int]
) -> Orchestration[None]:
    """Run one `create_wave`, also after a cancel: VMs must be known before they can be deleted."""
    home = requests[0]["placement"]["location"]
    outage = fleet.writes.outage_since is not None
    task: CreateWave = {
        "order": fleet.order,
        "requests": requests,
        "tried": fleet.placements.tried,
        "with_nic": [one["ordinal"] for one in requests if one["ordinal"] in with_nic],
        "reserved": [] if outage else fleet.reserve_nics(home, max_vms_without_role(fleet)),
        "without_role": fleet.vms_without_role(),
    }
    fleet.waves += 1
    publish_status(context, fleet, fleet.phase)  # the API finds the running wave by its number
    name = names.wave_id(fleet.order["batch_id"], fleet.waves)
    try:
        result: WaveResult = yield context.call_sub_orchestrator(
            create_wave, task, name, expected_type=dict
        )
    except Exception as error:
        raise FleetEnded("failed", failure_of(error)) from error
    now = context.current_utc_datetime
    for vm in result["vms"]:
        fleet.accept(vm)
    pause_if_throttled(context, fleet)
    if result["wait"]:
        fleet.writes.pause_until(now + timedelta(seconds=result["wait"]))
    for refusal in result["refusals"]:
        fleet.refuse(refusal["request"], refusal["failure"], now)
    for unsent in result["unsent"]:
        fleet.requeue(unsent["request"], has_nic=unsent["has_nic"])
    fleet.demand.nics_created(result["nics"])


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
