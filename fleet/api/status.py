"""A fleet as the API shows it, from the status of its durable instance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fleet.api.responses import MachineCounts, Shown
from fleet.model import names
from fleet.model.state import TERMINAL
from fleet.model.status import HEARTBEAT

ALIVE = frozenset({"Running", "Pending", "ContinuedAsNew", "Suspended"})
"""Runtime statuses of an instance that has not ended."""

MARGIN = 30.0
"""Seconds more without an update that mean nothing: an activity, and the polling of the queues."""


def answer(
    instance: Mapping[str, Any],
    teardown: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Shown:
    """A fleet as `GET /fleets/{id}` shows it, without links.

    Takes only named members: the input holds sealed ones. `teardown` is the latest of the fleet, where
    there was one: a DELETE after the end starts another.
    """
    now = now or datetime.now(UTC)
    shown = _shown(instance, now)
    if teardown is None or teardown["input"]["keep_machines"] or shown["phase"] not in TERMINAL:
        return shown
    if teardown["runtimeStatus"] in ALIVE:
        return {**shown, "phase": "teardown", "no_news_seconds": no_news(teardown, now)}
    counts = shown["machines"]
    return {
        **shown,
        "machines": {**counts, "deleted": counts["deleted"] + counts["running"], "running": 0},
    }


def child_of(instance: Mapping[str, Any]) -> str:
    """The instance that a fleet may be waiting for: its own is not updated meanwhile."""
    status = instance.get("customStatus") or {}
    batch_id = order_in(instance["input"])["batch_id"]
    if status.get("phase") == "teardown":
        return names.teardown_id(batch_id)
    return names.wave_id(batch_id, status.get("waves", 0))


def no_news(
    instance: Mapping[str, Any], now: datetime, child: Mapping[str, Any] | None = None
) -> int | None:
    """Seconds since an instance that has not ended, or its child, was updated; None where that is no
    more than a tick or a heartbeat, and MARGIN: then the host works.
    """
    seen = [one["lastUpdatedTime"] for one in (instance, child) if one]
    silence = (now - max(map(datetime.fromisoformat, seen))).total_seconds()
    watches = (instance.get("customStatus") or {}).get("phase") == "run"
    tick = max(HEARTBEAT, order_in(instance["input"])["run_poll_seconds"]) if watches else HEARTBEAT
    is_silent = instance["runtimeStatus"] in ALIVE and silence > tick + MARGIN
    return int(silence) if is_silent else None


def order_in(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order in an orchestration's input: alone at first, later part of the fleet's state."""
    order: Mapping[str, Any] = document.get("order", document)
    return order


def _shown(instance: Mapping[str, Any], now: datetime) -> Shown:
    order = order_in(instance["input"])
    shown = instance.get("customStatus") or {}
    phase = shown.get("phase", "plan")
    if instance["runtimeStatus"] in ("Failed", "Terminated", "Canceled") and phase not in TERMINAL:
        phase = "failed"  # ended from outside: by an operator, or by a fault of ours
    return {
        "id": instance["instanceId"],
        "batch_id": order["batch_id"],
        "experiment_id": order["experiment_id"],
        "phase": phase,
        "machines": shown.get("machines") or _none_yet(order["n_instances"]),
        "missing": shown.get("missing", {}),
        "placements": shown.get("placements", []),
        "trials": shown.get("trials"),
        "failures": shown.get("failures", []),
        "warnings": shown.get("warnings", []),
        "reason": shown.get("reason"),
        "created_at": shown.get("created_at") or instance["createdTime"],
        "updated_at": instance["lastUpdatedTime"],
        "no_news_seconds": no_news(instance, now),
        "version": shown.get("version"),
        "provisioned_at": shown.get("provisioned_at"),
        "deadline": shown.get("deadline"),
        "summary": (instance.get("output") or {}).get("summary") if phase in TERMINAL else None,
    }


def _none_yet(wanted: int) -> MachineCounts:
    return {
        "wanted": wanted,
        "accepted": 0,
        "role_assigned": 0,
        "running": 0,
        "failed": 0,
        "deleted": 0,
    }


def records(instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A record per VM (`records.Vm`), as the fleet's last history had begun or ended."""
    found: list[dict[str, Any]] = (instance.get("output") or instance["input"]).get("machines", [])
    return found
