"""A fleet's API representation, from the status of its durable instance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from fleet.api.responses.common import json_id
from fleet.api.responses.fleets import FleetWithoutLinks, MachineCounts
from fleet.model import names
from fleet.model.custom_status import MAX_TIMER_SECONDS
from fleet.model.failure import failure
from fleet.model.records import Order
from fleet.model.state import TERMINAL

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
        return {**shown, "phase": "teardown", "stale_seconds": stale_seconds(teardown, now)}
    counts = shown["machines"]
    return {
        **shown,
        "machines": {**counts, "deleted": counts["deleted"] + counts["running"], "running": 0},
    }


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


def order_in(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order in an orchestration's input: the input itself at first, later a part of the state."""
    order: Mapping[str, Any] = document.get("order", document)
    return order


def order_with_created_at(instance: Mapping[str, Any]) -> Order:
    """The order with `created_at`, which the input of the first history lacks."""
    created_at = fleet_from_instance(instance)["created_at"]
    return cast(Order, {**order_in(instance["input"]), "created_at": created_at})


def _fleet(instance: Mapping[str, Any], now: datetime) -> FleetWithoutLinks:
    order = order_in(instance["input"])
    shown = instance.get("customStatus") or {}
    phase, reason = shown.get("phase", "plan"), shown.get("reason")
    if instance["runtimeStatus"] in ("Failed", "Terminated", "Canceled") and phase not in TERMINAL:
        phase, reason = "failed", _NO_RESULT
    return {
        "id": instance["instanceId"],
        "batch_id": json_id(order["batch_id"]),
        "experiment_id": order["experiment_id"],
        "phase": phase,
        "machines": shown.get("machines") or _no_vms_yet(order["n_instances"]),
        "missing": shown.get("missing", {}),
        "placements": shown.get("placements", []),
        "trials": shown.get("trials"),
        "failures": shown.get("failures", []),
        "warnings": shown.get("warnings", []),
        "reason": reason,
        "created_at": shown.get("created_at") or instance["createdTime"],
        "updated_at": instance["lastUpdatedTime"],
        "stale_seconds": stale_seconds(instance, now),
        "version": shown.get("version"),
        "provisioned_at": shown.get("provisioned_at"),
        "deadline": shown.get("deadline"),
        "summary": _output(instance).get("summary"),
    }


def _no_vms_yet(wanted: int) -> MachineCounts:
    return {
        "wanted": wanted,
        "accepted": 0,
        "role_assigned": 0,
        "running": 0,
        "failed": 0,
        "deleted": 0,
    }


def vm_records(instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A record per VM (`records.Vm`), from the end or the start of the latest history."""
    found: list[dict[str, Any]] = (_output(instance) or instance["input"]).get("machines", [])
    return found


def _output(instance: Mapping[str, Any]) -> Mapping[str, Any]:
    """The orchestrator's output. Empty without one: of an instance that was ended, it is a text."""
    output = instance.get("output")
    return output if isinstance(output, dict) else {}
