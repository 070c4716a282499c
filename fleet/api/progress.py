"""How far a fleet is, when it will be done, and what it costs: from what is known, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet.api.responses import Cost, Machine, Progress
from fleet.model import names
from fleet.model.placement import label
from fleet.model.records import Order, Placement
from fleet.store.trial_history import Course
from fleet.store.vm_records import Known, Runner

RECENT = 0.25
"""Of the time since the first trial ended: what a rate is taken from. A fleet grows and shrinks."""
LEAST_RECENT = 60.0
"""Seconds."""
LEAST_TRIALS = 3
"""That have ended in it: from fewer nothing can be told."""

ERROR_LINE = 300
"""Characters that are shown of a trial's error: its end."""

_ORDER = ("refused", "creating", "running", "deleted", "failed")
"""States of a VM, in which it only goes forward."""


def machines(
    order: Order, records: Iterable[Mapping[str, Any]], known: Known | None
) -> list[Machine]:
    """A fleet's VMs in order of ordinal, as `GET /fleets/{id}/machines` shows them.

    `records` are those of the durable history. What the database has may be newer, or older where it
    could not be reached: a VM only goes forward, so the one that is further counts.
    """
    found = {one["ordinal"]: one for one in records}
    for ordinal, one in (known.machines if known else {}).items():
        if ordinal not in found or _how_far(one) > _how_far(found[ordinal]):
            found[ordinal] = one
    runners = known.runners if known else {}
    return [
        _shown(order, found[ordinal], runners.get(ordinal, Runner())) for ordinal in sorted(found)
    ]


def _how_far(machine: Mapping[str, Any]) -> tuple[int, int]:
    marks = ("role_assigned_at", "running_at", "ended_at", "deleted_at")
    return _ORDER.index(machine["state"]), sum(bool(machine.get(mark)) for mark in marks)


def _shown(order: Order, machine: Mapping[str, Any], runner: Runner) -> Machine:
    return {
        "ordinal": machine["ordinal"],
        "name": machine["name"],
        "runner_id": names.runner_id(order["batch_id"], machine["ordinal"]),
        "placement": machine["placement"],
        "state": machine["state"],
        "attempt": machine["attempt"],
        "replaces": machine["replaces"],
        "created_at": _utc(machine["created_at"]),
        "role_assigned_at": _utc(machine.get("role_assigned_at")),
        "running_at": _utc(machine.get("running_at")),
        "working_at": _utc(runner.working_at),
        "ended_at": _utc(runner.ended_at or machine.get("ended_at")),
        "deleted_at": _utc(machine.get("deleted_at")),
        "ended": machine["ended"],
        "outcome": runner.outcome,
        "trials": {"running": runner.running, "complete": runner.complete, "error": runner.error},
    }


def progress(
    order: Order,
    course: Course | None,
    shown: Iterable[Mapping[str, Any]],
    prices: Mapping[str, float],
    *,
    as_of: datetime,
    ended: bool,
    problem: str | None = None,
) -> Progress:
    """What `GET /fleets/{id}/progress` tells; `shown` is from `machines`. Without a `course`, `problem`
    says why there is none.
    """
    hours = vm_hours(shown, as_of)
    rate = per_hour(course) if course else None
    left = course.trials["ready"] + course.trials["running"] if course else 0
    end = None
    if rate and left and not ended:
        end = as_of + timedelta(hours=left / rate)
    return {
        "id": names.instance_id(order["batch_id"]),
        "as_of": _text(as_of),
        "experiment": {
            "id": order["experiment_id"],
            "name": course.experiment if course else None,
        },
        "trials": course.trials if course else None,
        "before": {
            "complete": course.complete[0] if course else 0,
            "error": course.error[0] if course else 0,
        },
        "errors": [
            # Cut only now, when no half of a password can be left of a whole one.
            {"message": line[-ERROR_LINE:], "count": count}
            for line, count in (course.why if course else ())
        ],
        "series": {
            "start": _text(order.get("created_at") or as_of),
            "step": course.step if course else 0.0,
            "complete": list(course.complete[1:]) if course else [],
            "error": list(course.error[1:]) if course else [],
        },
        "trials_per_hour": rate,
        "expected_end": _utc(end),
        "vm_hours": {
            "so_far": round(sum(one["vm_hours"] for one in hours), 4),
            "by_placement": [
                {
                    "placement": one["placement"],
                    "vm_hours": round(one["vm_hours"], 4),
                    "price_per_hour": price_of(one["placement"], prices),
                }
                for one in hours
            ],
        },
        "cost": _cost(hours, prices, course, as_of, end),
        "problem": problem,
    }


def per_hour(course: Course) -> float | None:
    """Trials an hour, lately: in the last RECENT of the time since the first one ended."""
    ended = [good + bad for good, bad in zip(course.complete[1:], course.error[1:], strict=True)]
    first = next((step for step, count in enumerate(ended) if count), None)
    if first is None:
        return None
    since = (len(ended) - first) * course.step
    steps = min(len(ended), max(1, round(max(since * RECENT, LEAST_RECENT) / course.step)))
    count = ended[-1] - (ended[-1 - steps] if steps < len(ended) else 0)
    return None if count < LEAST_TRIALS else count / (steps * course.step) * 3600


def vm_hours(shown: Iterable[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Hours for which VMs were there, by place: `place`, `vm_hours`, and how many are `living`.

    From Azure's acceptance to the look that did not find the VM any more: what Azure bills, within a
    tick and the time that a boot and a deletion take it.
    """
    placements: dict[str, dict[str, Any]] = {}
    for one in shown:
        if one["created_at"] is None:
            continue
        new = {"placement": one["placement"], "vm_hours": 0.0, "living": 0}
        placement = placements.setdefault(label(one["placement"]), new)
        living = one["state"] in ("creating", "running") and one["deleted_at"] is None
        end = one["deleted_at"] or (None if living else one["ended_at"])
        until = datetime.fromisoformat(end) if end else now
        seconds = (until - datetime.fromisoformat(one["created_at"])).total_seconds()
        placement["vm_hours"] += max(0.0, seconds) / 3600
        placement["living"] += living
    return list(placements.values())


def price_of(placement: Placement, prices: Mapping[str, float]) -> float | None:
    """US dollars an hour for a VM there, by the most exact of the keys that FLEET_PRICES may have:
    `location/size Spot`, `size Spot`; `location/size`, `size` for regular ones.
    """
    size = placement["vm_size"] + (" Spot" if placement["priority"] == "Spot" else "")
    for key in (f"{placement['location']}/{size}", size):
        if key.lower() in prices:
            return prices[key.lower()]
    return None


def _cost(
    hours: list[dict[str, Any]],
    prices: Mapping[str, float],
    course: Course | None,
    as_of: datetime,
    end: datetime | None,
) -> Cost | None:
    """In US dollars; None unless every place has a price: a part of a sum would pass for the whole."""
    priced = [(one, price_of(one["placement"], prices)) for one in hours]
    if not priced or any(price is None for _, price in priced):
        return None
    so_far = sum(one["vm_hours"] * (price or 0.0) for one, price in priced)
    an_hour = sum(one["living"] * (price or 0.0) for one, price in priced)
    trials = course.complete[-1] + course.error[-1] if course and len(course.complete) > 1 else 0
    to_come = (end - as_of).total_seconds() / 3600 if end else None
    return {
        "currency": "USD",
        "so_far": round(so_far, 4),
        "per_hour": round(an_hour, 4),
        "expected": None if to_come is None else round(so_far + an_hour * to_come, 4),
        "per_trial": round(so_far / trials, 6) if trials else None,
    }


def _utc(moment: datetime | str | None) -> str | None:
    """A time as text; None for what has not come to pass."""
    return _text(moment) if moment else None


def _text(moment: datetime | str) -> str:
    """ISO 8601 with a Z, as Azure writes times."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
