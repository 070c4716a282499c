"""A fleet's VM records, progress, expected end and cost. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet.api.responses.common import json_time
from fleet.api.responses.machines import Machine, VmFailure
from fleet.api.responses.progress import Cost, Progress, Series, VmHours
from fleet.model import costs, names
from fleet.model.costs import PlacementHours
from fleet.model.order_parts import FleetRef
from fleet.model.records import Order, Placement
from fleet.model.right_sizing import RightSizing
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
    state, ended = shown_state(machine), machine["ended"]
    has_failed = state in ("failed", "refused")
    return {
        "ordinal": machine["ordinal"],
        "name": machine["name"],
        "runner_id": names.runner_id(order["batch_id"], machine["ordinal"]),
        "placement": machine["placement"],
        "state": state,
        "attempt": machine["attempt"],
        "replaces": machine["replaces"],
        "created_at": _utc(machine["created_at"]),
        "role_assigned_at": _utc(machine.get("role_assigned_at")),
        "running_at": _utc(machine.get("running_at")),
        "working_at": _utc(report.working_at),
        "first_trial_at": _utc(report.first_trial_at),
        "ended_at": _utc(report.ended_at or machine.get("ended_at")),
        "deleted_at": _utc(machine.get("deleted_at")),
        "failure": _failure(ended) if has_failed else None,
        "outcome": report.outcome or (ended["message"] if ended and not has_failed else None),
        "trials": {"running": report.running, "complete": report.complete, "error": report.error},
        "system": report.system,
    }


def _failure(ended: Mapping[str, str] | None) -> VmFailure | None:
    if not ended:
        return None
    return {"code": ended["code"], "message": ended["message"], "action": ended["next"]}


def progress(
    order: Order,
    history: TrialHistory | None,
    shown: Iterable[Mapping[str, Any]],
    table: Mapping[str, float],
    *,
    as_of: datetime,
    ended: bool,
    right_sizing: RightSizing | None = None,
    problem: str | None = None,
) -> Progress:
    """The response of `GET /fleets/{id}/progress`. `shown` comes from `machines`,
    `table` from FLEET_PRICES.

    `ended`: the fleet starts no more trials, so that their end cannot be expected. If `history` is None,
    `problem` says why.
    """
    hours = costs.vm_hours(shown, as_of)
    prices = known_prices(order, hours, table)
    rate = trials_per_hour(history) if history else None
    end = None if ended else expected_end(history, as_of)
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
        "series": _series(history, order.get("created_at") or as_of),
        "cpu_models": [
            {"model": model, "machines": vms, "trials": count}
            for model, vms, count in (history.cpu_models if history else ())
        ],
        "trials_per_hour": rate,
        "expected_end": _utc(end),
        "vm_hours": _vm_hours(hours, prices),
        "cost": cost(costs.spending(hours, prices), history, as_of, end, order.get("max_cost")),
        "right_sizing": right_sizing,
        "problem": problem,
    }


def _series(history: TrialHistory | None, start: datetime | str) -> Series:
    return {
        "start": _text(start),
        "step": history.step if history else 0.0,
        "complete": list(history.complete[1:]) if history else [],
        "error": list(history.error[1:]) if history else [],
    }


def _vm_hours(hours: Sequence[PlacementHours], prices: costs.Prices) -> VmHours:
    return {
        "so_far": round(sum(one["vm_hours"] for one in hours), 4),
        "by_placement": [
            {
                "placement": one["placement"],
                "vm_hours": round(one["vm_hours"], 4),
                "price_per_hour": _per_hour(one["placement"], prices),
            }
            for one in hours
        ],
    }


def expected_end(history: TrialHistory | None, now: datetime) -> datetime | None:
    """When the last trial finishes at the recent rate; None if it is unknown, or no trial is left."""
    rate = trials_per_hour(history) if history else None
    left = history.trials["ready"] + history.trials["running"] if history else 0
    return now + timedelta(hours=left / rate) if rate and left else None


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


def known_prices(
    order: Order, hours: Iterable[PlacementHours], table: Mapping[str, float]
) -> costs.Prices:
    """The prices that the fleet's plan found; for placements without one, those in FLEET_PRICES."""
    listed = {
        costs.price_key(one["placement"]): costs.configured_price(one["placement"], table)
        for one in hours
    }
    configured = {key: price for key, price in listed.items() if price is not None}
    return {**configured, **order.get("prices", {})}


def cost(
    spent: costs.Spending | None,
    history: TrialHistory | None,
    as_of: datetime,
    end: datetime | None,
    max_cost: float | None,
) -> Cost | None:
    """`end`: when the last trial is expected to finish; None if unknown."""
    if spent is None:
        return None
    trials = (
        history.complete[-1] + history.error[-1] if history and len(history.complete) > 1 else 0
    )
    remaining = (end - as_of).total_seconds() / 3600 if end else None
    expected = None if remaining is None else spent.so_far + spent.per_hour * remaining
    saved = spent.saved_by_spot
    return {
        "currency": "USD",
        "so_far": costs.dollars(spent.so_far),
        "per_hour": costs.dollars(spent.per_hour),
        "expected": None if expected is None else costs.dollars(expected),
        "per_trial": costs.dollars(spent.so_far / trials) if trials else None,
        "saved_by_spot": None if saved is None else costs.dollars(saved),
        "max_cost": max_cost,
    }


def _per_hour(placement: Placement, prices: costs.Prices) -> float | None:
    price = prices.get(costs.price_key(placement))
    return price and costs.dollars(price["per_hour"])


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
