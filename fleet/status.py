"""What we tell about a fleet: from a durable instance's status to the API's answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet import names
from fleet.state import TERMINAL

ALIVE = frozenset({"Running", "Pending", "ContinuedAsNew", "Suspended"})
"""Runtime statuses of an instance that has not ended."""


def answer(
    instance: Mapping[str, Any], teardown: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A fleet as `GET /fleets/{id}` shows it. Takes only named members: the input holds sealed ones.

    `teardown` is the latest of the fleet, where there was one: a DELETE after the end starts another.
    """
    shown = _shown(instance)
    if teardown is None or teardown["input"]["keep_machines"] or shown["phase"] not in TERMINAL:
        return shown
    if teardown["runtimeStatus"] in ALIVE:
        return {**shown, "phase": "teardown"}
    counts = shown["machines"]
    return {
        **shown,
        "machines": {**counts, "gone": counts["gone"] + counts["running"], "running": 0},
    }


def _shown(instance: Mapping[str, Any]) -> dict[str, Any]:
    order = instance["input"].get("order", instance["input"])
    shown = instance.get("customStatus") or {}
    phase = shown.get("phase", "plan")
    if instance["runtimeStatus"] in ("Failed", "Terminated", "Canceled") and phase not in TERMINAL:
        phase = "failed"  # ended from outside: by an operator, or by a fault of ours
    return {
        "id": instance["instanceId"],
        "batch_id": names.batch_of(instance["instanceId"]),
        "experiment_id": order["experiment_id"],
        "phase": phase,
        "machines": shown.get("machines")
        or {
            "wanted": order["n_instances"],
            **dict.fromkeys(("accepted", "permitted", "running", "failed", "gone"), 0),
        },
        "trials": shown.get("trials"),
        "failures": shown.get("failures", []),
        "reason": shown.get("reason"),
        "created_at": shown.get("created_at") or instance["createdTime"],
        "updated_at": instance["lastUpdatedTime"],
        "provisioned_at": shown.get("provisioned_at"),
        "deadline": shown.get("deadline"),
        "summary": instance.get("output") if phase in TERMINAL else None,
    }
