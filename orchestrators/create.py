"""Phases 3 and 4: VMs in waves, then one look per tick until every one of them runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fleet.model import names
from fleet.model.failure import failure
from fleet.model.placement import block, choose, remember
from fleet.model.records import Failure, Placement, VmRequest
from fleet.model.state import BURST, FleetState
from orchestrators import network
from orchestrators.patterns import (
    CHUNK,
    LONGEST_DELAY,
    Context,
    FleetEnded,
    Orchestration,
    failure_of,
    show,
    sleep_unless,
)
from orchestrators.reconcile import apply_throttling, check_deadline, give_up_roles, look, reconcile
from orchestrators.snapshot import snapshot_if_stale
from orchestrators.wave import create_wave

TURNS = 40
"""Waves or ticks per history: at each step all of its events are replayed."""
ROLE_WAIT = 5.0
"""Seconds between two tries while every place of the window is taken."""


def create(context: Context, fleet: FleetState, cancel: Any) -> Orchestration:
    """Waves, until every VM was asked for; at most `max_undead` VMs ever lack their role.

    Returns whether it is over; if not, it goes on in a new history. What Azure has no place for now
    is left to `boot`.
    """
    for _ in range(TURNS):
        if not wants_more(context, fleet):
            return True
        held = fleet.held_for(context.current_utc_datetime)
        if held > 0:
            yield from sleep_unless(context, cancel, min(held, LONGEST_DELAY))
        elif window_of(fleet) > len(fleet.undead()):
            yield from fill(context, fleet, cancel)
        else:
            yield from sleep_unless(context, cancel, ROLE_WAIT)
        if is_due(context, fleet):
            yield from look(context, fleet)
        yield from give_up_roles(context, fleet)
        yield from snapshot_if_stale(context, fleet)
        show(context, fleet, "create")
        if cancel.is_completed:
            raise FleetEnded("cancelled")
        check_deadline(context, fleet)
    return False


def boot(context: Context, fleet: FleetState, cancel: Any) -> Orchestration:
    """One LIST per tick, until every VM runs with its roles, or has failed and nothing can stand in
    for it.

    Returns whether it is over. Raises FleetEnded when fewer than `min_instances` have come to run.
    """
    for _ in range(TURNS):
        waiting = fleet.count("creating") or fleet.unsettled()
        if not waiting and not wants_more(context, fleet):
            if (
                fleet.count("running", "deleted") < fleet.order["min_instances"]
                and fleet.is_short()
            ):
                raise FleetEnded("failed", too_few(fleet))
            return True
        if (yield from sleep_unless(context, cancel, pause(fleet))):
            raise FleetEnded("cancelled")
        yield from reconcile(context, fleet)
        yield from fill(context, fleet, cancel)
        yield from snapshot_if_stale(context, fleet)
        show(context, fleet, "boot")
        check_deadline(context, fleet)
    return False


def pause(fleet: FleetState) -> float:
    """Seconds between two looks: with a page for 50 VMs, Azure's 300 pages a minute are half used."""
    return max(fleet.order["boot_poll_seconds"], len(fleet.living()) / 50 * 0.4)


def is_due(context: Context, fleet: FleetState) -> bool:
    """Whether it is time for a look: what fails meanwhile must not be met by the next wave too."""
    if fleet.looked_at is None:
        return True
    since = context.current_utc_datetime - datetime.fromisoformat(fleet.looked_at)
    return since.total_seconds() >= pause(fleet)


def fill(context: Context, fleet: FleetState, cancel: Any) -> Orchestration:
    """One wave, as large as the window, the places and Azure's pace have room for; none while Azure
    wants no writes. After faults of Azure's one VM goes first.
    """
    if fleet.is_held(context.current_utc_datetime):
        return
    room = 1 if fleet.outage_since else window_of(fleet) - len(fleet.undead())
    again = fleet.resend(max(0, room))
    placements = placements_for_more(context, fleet)[: max(0, room - len(again))]
    for location in dict.fromkeys(placement["location"] for placement in placements):
        reason = yield from network.ensure(context, fleet, cancel, location)
        if reason is not None:
            placements = [
                placement for placement in placements if placement["location"] != location
            ]
            leave_out(context, fleet, location, reason)
    writes = (len(again) + len(placements)) * fleet.writes_per_vm()
    if not writes:
        return
    wait = fleet.spend(writes, context.current_utc_datetime)
    if wait > 0 and (yield from sleep_unless(context, cancel, wait)):
        raise FleetEnded("cancelled")
    ready = fleet.with_nic()
    yield from run_wave(context, fleet, [*again, *fleet.assign(placements)], ready)


def wants_more(context: Context, fleet: FleetState) -> bool:
    """Whether VMs are to be asked for, now or as soon as Azure has an ear."""
    again = fleet.again and not fleet.stopped and fleet.trials_left()
    return bool(again or placements_for_more(context, fleet))


def window_of(fleet: FleetState) -> int:
    """How many VMs may lack their role at once."""
    return max(1, min(fleet.order["max_undead"], CHUNK, BURST // fleet.writes_per_vm()))


def placements_for_more(context: Context, fleet: FleetState) -> list[Placement]:
    """Where the VMs that are wanted could be asked for now; empty when none is to be asked for."""
    count = min(fleet.deficit(), fleet.budget(), CHUNK)
    if fleet.stopped or count <= 0:
        return []
    now = context.current_utc_datetime
    return choose(fleet.order, fleet.blocks, fleet.living(), count, now)


def run_wave(
    context: Context, fleet: FleetState, assignments: list[VmRequest], ready: set[int]
) -> Orchestration:
    """One `create_wave`, awaited even after a cancel: what it makes must be known before it can be
    deleted. `ready` are ordinals that have a NIC.
    """
    home = assignments[0]["placement"]["location"]
    task = {
        "order": fleet.order,
        "assignments": assignments,
        "tried": fleet.tried,
        "prepared": [one["ordinal"] for one in assignments if one["ordinal"] in ready],
        "following": [] if fleet.outage_since else fleet.to_prepare(home, window_of(fleet)),
        "pending": fleet.undead(),
    }
    fleet.waves += 1
    show(context, fleet, fleet.phase)  # a reader looks for news of the wave by its number
    name = names.wave_id(fleet.order["batch_id"], fleet.waves)
    try:
        result = yield context.call_sub_orchestrator(create_wave, task, name)
    except Exception as error:
        raise FleetEnded("failed", failure_of(error)) from error
    _take_in(context, fleet, result)


def too_few(fleet: FleetState) -> Failure:
    """Why there are fewer VMs than `min_instances`: what stopped us, or the most frequent failure."""
    text = f"{fleet.count('running', 'gone')} of {fleet.order['n_instances']} VMs came to run."
    often: tuple[str, Any] | None
    often = max(fleet.failures.items(), key=lambda item: item[1]["count"], default=None)
    if fleet.stopped is not None:
        often = fleet.stopped["code"], {**fleet.stopped}
    if often is None:
        return failure("TooFewMachines", text, "fail_fleet", "See the app's log.")
    code, group = often
    return failure(code, f"{text} {group['message']}", "fail_fleet", group["advice"])


def _take_in(context: Context, fleet: FleetState, result: dict[str, Any]) -> None:
    now = context.current_utc_datetime
    for machine in result["machines"]:
        fleet.accept(machine)
    apply_throttling(context, fleet)
    if result["wait"]:
        fleet.hold(now + timedelta(seconds=result["wait"]))
    for one in result["refusals"]:
        fleet.refuse(one["assignment"], one["failure"], now)
    for one in result["unsent"]:
        fleet.take_back(one["assignment"], has_nic=one["has_nic"])
    for following in fleet.prepared:
        following["made"] = following["made"] or following["ordinal"] in result["prepared"]


def leave_out(context: Context, fleet: FleetState, location: str, reason: Failure) -> None:
    """No VM goes to a location whose network cannot be had, for as long as a quota would be held."""
    fleet.note(reason, f"left {location} out")
    reason = {**reason, "scope": "location", "cool_down": 600.0}
    placement = Placement(location=location, zone=None, vm_size="", priority="")
    now = context.current_utc_datetime
    fleet.blocks = remember(fleet.blocks, block(placement, reason, {}, now))
