"""Taking stock at each look: how far the trials are, and what the world is told of the VMs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from activities.snapshot import record_snapshot
from fleet.model.records import Machine, stored
from fleet.model.state import FleetState, standing
from orchestrators.patterns import ROUNDS, Context, Orchestration, settle

NOTED_AT_ONCE = 75
"""VMs per activity: 500 bytes each, and a message above 60 KB takes a detour by way of a blob."""
AGAIN = "counted again at the next tick"
LATER = "went on; what is shown of the VMs may be old"


def take_snapshot(
    context: Context, fleet: FleetState, rounds: int = ROUNDS, otherwise: str = AGAIN
) -> Orchestration:
    """Count the trials, and note the VMs of which there is news. Returns whether they were counted.

    What could not be noted is noted with the next; `otherwise` says what follows from a count that
    could not be had.
    """
    news = fleet.news()
    at = fleet.counted_at = context.current_utc_datetime.isoformat()
    parts = [news[start : start + NOTED_AT_ONCE] for start in range(0, len(news), NOTED_AT_ONCE)]
    calls = [
        (record_snapshot, _task(fleet, part, at, first=not number))
        for number, part in enumerate(parts or [[]])
    ]
    results = yield from settle(context, calls, rounds)
    for part, result in zip(parts, results, strict=False):
        if result["ok"] and not result.get("unnoted"):
            for machine in part:
                machine["noted"] = standing(machine)
    failed = [(result["failure"], otherwise) for result in results if not result["ok"]]
    failed += [(result["unnoted"], LATER) for result in results if result.get("unnoted")]
    fleet.counted = not failed
    if failed:
        fleet.note(*failed[0])
    if results[0]["ok"]:
        fleet.trials = results[0]["trials"]
    fleet.record_heartbeats(results[0] if results[0]["ok"] else {})
    return bool(results[0]["ok"])


def _task(fleet: FleetState, part: list[Machine], at: str, *, first: bool) -> dict[str, Any]:
    return {
        "order": fleet.order,
        "machines": [stored(machine) for machine in part],
        "noted": [machine["noted"] for machine in part],
        "at": at,
        # Of the fleet, and so once: a count of 100,000 trials takes 0.2 s.
        "counts": first,
        "counted": fleet.trials if first else None,
        "idle": first and fleet.phase == "run",
    }


def snapshot_if_stale(context: Context, fleet: FleetState) -> Orchestration:
    """`take_snapshot` in one try, where there is news or the last count is old.

    VMs are being created meanwhile; a database that does not answer must not delay that each time.
    """
    last = fleet.counted_at and datetime.fromisoformat(fleet.counted_at)
    age = (context.current_utc_datetime - last).total_seconds() if last else float("inf")
    if age >= fleet.order["run_poll_seconds"] or (fleet.counted and fleet.news()):
        yield from take_snapshot(context, fleet, rounds=1)
