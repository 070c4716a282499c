"""Phases 3 and 4: VMs in waves, then one look per tick until every one of them runs."""

from __future__ import annotations

from typing import Any

from fleet import names
from fleet.failures import failure
from fleet.records import Failure
from fleet.state import FleetState
from orchestrators.patterns import CHUNK, Context, Ended, Steps, show, sleep_unless, told
from orchestrators.reconcile import check_deadline, give_up_boots, give_up_roles, look
from orchestrators.wave import create_wave

TURNS = 40
"""Waves or ticks per history: at each step all of its events are replayed."""
REFUSALS = 3
"""VMs in a row that Azure refuses before we stop asking: the next would be refused as well."""
ROLE_WAIT = 5.0
"""Seconds between two tries while every place of the window is taken."""


def create(context: Context, fleet: FleetState, cancel: Any) -> Steps:
    """Waves, until every VM was asked for; at most `max_undead` VMs ever lack their role.

    Returns whether it is over; if not, it goes on in a new history.
    """
    window = min(fleet.order["max_undead"], CHUNK)
    for _ in range(TURNS):
        if fleet.next_ordinal >= fleet.order["n_instances"] or fleet.refused >= REFUSALS:
            return True
        room = window - len(fleet.undead())
        if room > 0:
            yield from run_wave(context, fleet, cancel, room, window)
        else:
            yield from sleep_unless(context, cancel, ROLE_WAIT)
            yield from look(context, fleet)
        yield from give_up_roles(context, fleet)
        show(context, fleet, "create")
        if cancel.is_completed:
            raise Ended("cancelled")
        check_deadline(context, fleet)
    return False


def run_wave(context: Context, fleet: FleetState, cancel: Any, room: int, window: int) -> Steps:
    """One `create_wave` of at most `room` VMs. A cancel is seen, but the wave is awaited: what it
    makes must be known before it can be deleted.
    """
    ordinals = fleet.take(room)
    task = {
        "order": fleet.order,
        "ordinals": ordinals,
        "prepared": fleet.prepared,
        "following": fleet.to_prepare(window),
        "pending": fleet.undead(),
    }
    name = names.wave_id(fleet.order["batch_id"], ordinals[0])
    wave = context.call_sub_orchestrator(create_wave, task, name)
    yield context.task_any([wave] if cancel.is_completed else [cancel, wave])
    if not wave.is_completed:
        yield context.task_any([wave])
    if isinstance(wave.result, Exception):
        raise Ended("failed", told(wave.result))
    _take_in(fleet, ordinals, wave.result)


def observe(context: Context, fleet: FleetState, cancel: Any) -> Steps:
    """One LIST per tick, until every VM runs with its roles, or has failed.

    Returns whether it is over. Raises Ended when fewer than `min_instances` have come to run.
    """
    for _ in range(TURNS):
        if not fleet.count("creating") and not fleet.unsettled():
            if fleet.count("running", "gone") < fleet.order["min_instances"]:
                raise Ended("failed", too_few(fleet))
            return True
        if (yield from sleep_unless(context, cancel, fleet.order["observe_seconds"])):
            raise Ended("cancelled")
        yield from look(context, fleet)
        yield from give_up_roles(context, fleet)
        yield from give_up_boots(context, fleet)
        show(context, fleet, "observe")
        check_deadline(context, fleet)
    return False


def too_few(fleet: FleetState) -> Failure:
    """Why there are fewer VMs than `min_instances`: the most frequent failure, in its own words."""
    often = max(fleet.failures.items(), key=lambda item: item[1]["count"], default=None)
    text = f"{fleet.count('running', 'gone')} of {fleet.order['n_instances']} VMs came to run."
    if often is None:
        return failure("TooFewMachines", text, "fail_fleet", "See the app's log.")
    code, group = often
    return failure(code, f"{text} {group['message']}", "fail_fleet", group["advice"])


def _take_in(fleet: FleetState, ordinals: list[int], result: dict[str, Any]) -> None:
    for machine in result["machines"]:
        fleet.add(machine)
    for reason in result["failures"]:
        fleet.note(reason, "gave this VM up")
    hopeless = any(reason["action"] == "fail_fleet" for reason in result["failures"])
    made = len(ordinals) - len(result["failures"])
    fleet.refused = REFUSALS if hopeless else 0 if made else fleet.refused + len(ordinals)
    unused = [ordinal for ordinal in fleet.prepared if ordinal not in ordinals]
    fleet.prepared = [*unused, *result["prepared"]]
