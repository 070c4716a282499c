"""A fleet's API representation, from the status of its durable instance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from fleet.api.responses.common import json_id
from fleet.api.responses.fleets import FinalStatus, FleetWithoutLinks, MachineCounts, Outcome
from fleet.model import names
from fleet.model.costs import MAX_COST_REACHED
from fleet.model.custom_status import MAX_TIMER_SECONDS
from fleet.model.failure import failure
from fleet.model.order_parts import part_of
from fleet.model.records import Failure, Order, Reason, Vm
from fleet.model.state import ENDING, TERMINAL
from fleet.model.vm_list import restored

ALIVE = frozenset({"Running", "Pending", "ContinuedAsNew", "Suspended"})
"""Runtime statuses of an instance that has not ended."""

_NO_RESULT = failure(
    "OrchestrationEnded",
    "The orchestration ended without a result: an operator terminated it, or the deployed release cannot"
    " continue it. Its VMs delete themselves when no trial is left, and the sweep deletes them at the"
    " deadline.",
    "fail_fleet",
    "Cancel the fleet to delete its VMs now. Its instance in the task hub says why it ended.",
)

MARGIN = 30.0
"""Tolerated delay of an update in seconds: an activity plus queue polling."""


def fleet_from_instance(
    instance: Mapping[str, Any],
    teardown: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> FleetWithoutLinks:
    """The response of `GET /fleets/{id}`, without links.

    Copies members by name, because the input contains sealed secrets. `teardown` is the fleet's latest
    separate teardown instance, if any: a DELETE after the end starts one.
    """
    now = now or datetime.now(UTC)
    shown = _fleet(instance, now)
    if teardown is None or teardown["input"]["keep_machines"] or shown["phase"] not in TERMINAL:
        return shown
    if teardown["runtimeStatus"] in ALIVE:
        stale = stale_seconds(teardown, now)
        return {**shown, "phase": "teardown", "outcome": None, "stale_seconds": stale}
    return {**shown, "machines": without_vms(shown["machines"])}


def without_vms(counts: MachineCounts) -> MachineCounts:
    """The counts of a fleet whose VMs were deleted since."""
    deleted = counts["deleted"] + counts["running"] + counts["creating"]
    return {**counts, "deleted": deleted, "running": 0, "creating": 0}


def teardown_instance_id(instance: Mapping[str, Any]) -> str | None:
    """The teardown that a fleet waits for, if it does; the fleet itself is not updated meanwhile."""
    is_in_teardown = (instance.get("customStatus") or {}).get("phase") == "teardown"
    return names.teardown_id(order_in(instance["input"])["batch_id"]) if is_in_teardown else None


def stale_seconds(
    instance: Mapping[str, Any], now: datetime, teardown: Mapping[str, Any] | None = None
) -> int | None:
    """Seconds since a live instance, or its teardown, was updated; None if it is not overdue.

    An update is overdue after a polling interval or the longest timer, plus MARGIN.
    """
    updates = [one["lastUpdatedTime"] for one in (instance, teardown) if one]
    age = (now - max(map(datetime.fromisoformat, updates))).total_seconds()
    interval = MAX_TIMER_SECONDS
    if (instance.get("customStatus") or {}).get("phase") == "run":
        interval = max(MAX_TIMER_SECONDS, order_in(instance["input"])["run_poll_seconds"])
    is_stale = instance["runtimeStatus"] in ALIVE and age > interval + MARGIN
    return int(age) if is_stale else None


def starts_trials(fleet: FleetWithoutLinks, now: datetime) -> bool:
    """Whether a fleet's VMs may still start trials: it is not being torn down, its deadline has not
    passed, and it does not drain because of its `max_cost`.
    """
    deadline = fleet["deadline"]
    return (
        fleet["phase"] not in ENDING
        and not (deadline and datetime.fromisoformat(deadline) <= now)
        and all(group["code"] != MAX_COST_REACHED for group in fleet["failures"])
    )


def order_in(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order in an orchestration's input: the input itself at first, later a part of the state."""
    order: Mapping[str, Any] = document.get("order", document)
    return order


def started_order(instance: Mapping[str, Any]) -> Order:
    """The order with `created_at` and `prices`, which the input of the first history lacks."""
    order = order_in(instance["input"])
    shown = instance.get("customStatus") or {}
    found = {
        "created_at": fleet_from_instance(instance)["created_at"],
        "prices": order.get("prices") or shown.get("prices") or {},
    }
    return cast(Order, {**order, **found})


def _fleet(instance: Mapping[str, Any], now: datetime) -> FleetWithoutLinks:
    order = order_in(instance["input"])
    shown = instance.get("customStatus") or {}
    phase, trials = shown.get("phase", "plan"), shown.get("trials")
    reason = shown.get("reason")
    if instance["runtimeStatus"] in ("Failed", "Terminated", "Canceled") and phase not in TERMINAL:
        phase, reason = "failed", _NO_RESULT
    return {
        "id": instance["instanceId"],
        "batch_id": json_id(order["batch_id"]),
        "experiment_id": order["experiment_id"],
        "phase": phase,
        "machines": _machines(shown.get("machines"), order["n_instances"]),
        "missing": shown.get("missing", {}),
        "placements": shown.get("placements", []),
        "trials": trials,
        "failures": shown.get("failures", []),
        "warnings": shown.get("warnings", []),
        "reason": _reason(reason),
        "ended_in": shown.get("ended_in"),
        "outcome": outcome(phase, trials),
        "created_at": shown.get("created_at") or instance["createdTime"],
        "updated_at": instance["lastUpdatedTime"],
        "stale_seconds": stale_seconds(instance, now),
        "version": shown.get("version"),
        "provisioned_at": shown.get("provisioned_at"),
        "deadline": shown.get("deadline"),
        "summary": _summary(instance),
    }


def outcome(phase: Any, trials: Mapping[str, Any] | None) -> Outcome | None:
    """How a fleet ended; None before."""
    if phase not in TERMINAL:
        return None
    if phase != "done":
        return cast(Outcome, phase)
    if trials is None or not trials.get("error"):
        return "succeeded"
    return "some_trials_failed" if trials.get("complete") else "all_trials_failed"


def _summary(instance: Mapping[str, Any]) -> FinalStatus | None:
    """The final custom status; None before the end, or if the instance was ended from outside."""
    final = _output(instance).get("summary")
    if not final:
        return None
    # `progress` has the prices.
    shown = {name: value for name, value in final.items() if name != "prices"}
    return cast(FinalStatus, {**shown, "reason": _reason(final.get("reason"))})


def _reason(failure: Failure | None) -> Reason | None:
    """A failure without what only the failure policy uses."""
    return failure and part_of(failure, Reason)


def _machines(counts: Mapping[str, int] | None, wanted: int) -> MachineCounts:
    """The counts of a status; those of an earlier build lack some members."""
    none = dict.fromkeys(MachineCounts.__annotations__, 0)
    known = counts or {"pending": wanted}
    return cast(MachineCounts, {**none, "wanted": wanted, **known})


def vm_records(instance: Mapping[str, Any]) -> list[Vm]:
    """The VMs at the end or the start of the latest history."""
    order = cast(Order, order_in(instance["input"]))
    return restored(order, _output(instance) or instance["input"])


def _output(instance: Mapping[str, Any]) -> Mapping[str, Any]:
    """The orchestrator's output. Empty without one: of an instance that was ended, it is a text."""
    output = instance.get("output")
    return output if isinstance(output, dict) else {}
