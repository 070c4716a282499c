"""A fleet's VM records, progress, expected end and cost. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet.api.responses.common import json_time
from fleet.api.responses.machines import Machine, VmFailure
from fleet.api.responses.progress import Cost, Progress
from fleet.model import names
from fleet.model.order_parts import FleetRef
from fleet.model.placement import label
from fleet.model.records import Order, Placement
from fleet.model.vm_counts import shown_state
from fleet.store.trial_history import TrialHistory
from fleet.store.vm_records import StoredVms, VmReport

RECENT = 0.25
"""The share of the time since the first finished trial that the rate is averaged over."""
MIN_RECENT_SECONDS = 60.0
MIN_TRIALS = 3
"""Finished trials in that window that an estimate needs."""

ERROR_LINE = 300
"""Characters of a trial's error that are shown: its beginning, which names the exception."""

_STATE_ORDER = ("refused", "creating", "running", "deleted", "failed")
"""VM states in the order in which a VM passes through them."""


def machines(
    order: FleetRef, records: Iterable[Mapping[str, Any]], stored: StoredVms | None
) -> list[Machine]:
    """The response of `GET /fleets/{id}/machines`, in order of ordinal.

    `records` come from the durable history. The database may have newer or, after an outage, older
    records; the one with the more advanced state wins.
    """
    found = {one["ordinal"]: one for one in records}
    for ordinal, one in (stored.machines if stored else {}).items():
        if ordinal not in found or _advancement(one) > _advancement(found[ordinal]):
            found[ordinal] = one
    reports = stored.reports if stored else {}
    return [
        _shown(order, found[ordinal], reports.get(ordinal, VmReport())) for ordinal in sorted(found)
    ]


def _advancement(machine: Mapping[str, Any]) -> tuple[int, int]:
    timestamps = ("role_assigned_at", "running_at", "ended_at", "deleted_at")
    return _STATE_ORDER.index(machine["state"]), sum(bool(machine.get(one)) for one in timestamps)


def _shown(order: FleetRef, machine: Mapping[str, Any], report: VmReport) -> Machine:
    return {
        "ordinal": machine["ordinal"],
        "name": machine["name"],
        "runner_id": names.runner_id(order["batch_id"], machine["ordinal"]),
        "placement": machine["placement"],
        "state": shown_state(machine),
        "attempt": machine["attempt"],
        "replaces": machine["replaces"],
        "created_at": _utc(machine["created_at"]),
        "role_assigned_at": _utc(machine.get("role_assigned_at")),
        "running_at": _utc(machine.get("running_at")),
        "working_at": _utc(report.working_at),
        "ended_at": _utc(report.ended_at or machine.get("ended_at")),
        "deleted_at": _utc(machine.get("deleted_at")),
        "failure": _failure(machine["ended"]),
        "outcome": report.outcome,
        "trials": {"running": report.running, "complete": report.complete, "error": report.error},
    }


def _failure(ended: Mapping[str, str] | None) -> VmFailure | None:
    if not ended:
        return None
    return {"code": ended["code"], "message": ended["message"], "action": ended["next"]}


def progress(
    order: Order,
    history: TrialHistory | None,
    shown: Iterable[Mapping[str, Any]],
    prices: Mapping[str, float],
    *,
    as_of: datetime,
    ended: bool,
    problem: str | None = None,
) -> Progress:
    """The response of `GET /fleets/{id}/progress`. `shown` comes from `machines`.

    If `history` is None, `problem` says why.
    """
    hours = vm_hours(shown, as_of)
    rate = trials_per_hour(history) if history else None
    left = history.trials["ready"] + history.trials["running"] if history else 0
    end = None
    if rate and left and not ended:
        end = as_of + timedelta(hours=left / rate)
    return {
        "id": names.instance_id(order["batch_id"]),
        "as_of": _text(as_of),
        "experiment": {
            "id": order["experiment_id"],
            "name": history.experiment if history else None,
        },
        "trials": history.trials if history else None,
        "before": {
            "complete": history.complete[0] if history else 0,
            "error": history.error[0] if history else 0,
        },
        "errors": [
            # Cut after redaction: a cut password would not be recognised.
            {"message": _shortened(line), "count": count}
            for line, count in (history.error_messages if history else ())
        ],
        "series": {
            "start": _text(order.get("created_at") or as_of),
            "step": history.step if history else 0.0,
            "complete": list(history.complete[1:]) if history else [],
            "error": list(history.error[1:]) if history else [],
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
        "cost": cost(hours, prices, history, as_of, end),
        "problem": problem,
    }


def trials_per_hour(history: TrialHistory) -> float | None:
    """The recent completion rate; None if too few trials have finished."""
    ended = [good + bad for good, bad in zip(history.complete[1:], history.error[1:], strict=True)]
    first = next((step for step, count in enumerate(ended) if count), None)
    if first is None:
        return None
    since = (len(ended) - first) * history.step
    steps = min(len(ended), max(1, round(max(since * RECENT, MIN_RECENT_SECONDS) / history.step)))
    count = ended[-1] - (ended[-1 - steps] if steps < len(ended) else 0)
    return None if count < MIN_TRIALS else count / (steps * history.step) * 3600


def vm_hours(shown: Iterable[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """VM hours by placement: dicts of `placement`, `vm_hours` and `alive` (VMs that exist now).

    Counts from Azure's acceptance to the first poll without the VM: what Azure bills, accurate to one
    polling interval plus boot and deletion time.
    """
    placements: dict[str, dict[str, Any]] = {}
    for one in shown:
        if one["created_at"] is None:
            continue
        new = {"placement": one["placement"], "vm_hours": 0.0, "alive": 0}
        placement = placements.setdefault(label(one["placement"]), new)
        alive = one["state"] in ("creating", "running") and one["deleted_at"] is None
        end = one["deleted_at"] or (None if alive else one["ended_at"])
        until = datetime.fromisoformat(end) if end else now
        seconds = (until - datetime.fromisoformat(one["created_at"])).total_seconds()
        placement["vm_hours"] += max(0.0, seconds) / 3600
        placement["alive"] += alive
    return list(placements.values())


def price_of(placement: Placement, prices: Mapping[str, float]) -> float | None:
    """US dollars per VM hour in a placement, or None. Looks up `location/size` before `size` in
    FLEET_PRICES; both have the suffix ` Spot` for Spot VMs.
    """
    size = placement["vm_size"] + (" Spot" if placement["priority"] == "Spot" else "")
    for key in (f"{placement['location']}/{size}", size):
        if key.lower() in prices:
            return prices[key.lower()]
    return None


def cost(
    hours: list[dict[str, Any]],
    prices: Mapping[str, float],
    history: TrialHistory | None,
    as_of: datetime,
    end: datetime | None = None,
) -> Cost | None:
    """In US dollars; None if any placement has no price, because a partial sum would be misleading."""
    priced = [(one, price_of(one["placement"], prices)) for one in hours]
    if not priced or any(price is None for _, price in priced):
        return None
    so_far = sum(one["vm_hours"] * (price or 0.0) for one, price in priced)
    per_hour = sum(one["alive"] * (price or 0.0) for one, price in priced)
    trials = (
        history.complete[-1] + history.error[-1] if history and len(history.complete) > 1 else 0
    )
    remaining = (end - as_of).total_seconds() / 3600 if end else None
    return {
        "currency": "USD",
        "so_far": round(so_far, 4),
        "per_hour": round(per_hour, 4),
        "expected": None if remaining is None else round(so_far + per_hour * remaining, 4),
        "per_trial": round(so_far / trials, 6) if trials else None,
    }


def _utc(moment: datetime | str | None) -> str | None:
    return _text(moment) if moment else None


def _shortened(line: str) -> str:
    return line if len(line) <= ERROR_LINE else line[: ERROR_LINE - 1] + "…"


def _text(moment: datetime | str) -> str:
    """ISO 8601 with milliseconds and a Z; naive times are UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return json_time(moment)
