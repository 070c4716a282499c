"""What we tell about a fleet: from a durable instance's status to the API's answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from fleet import names
from fleet.state import TERMINAL, FleetState

SHOWN_FAILURES = 8
SHOWN_PLACES = 12

SHOWN_MEMBERS = ("ordinal", "name", "place", "state", "attempt", "replaces", "created_at", "ended")

STARTING = frozenset({"plan", "network", "create", "observe"})

ALIVE = frozenset({"Running", "Pending", "ContinuedAsNew", "Suspended"})
"""Runtime statuses of an instance that has not ended."""


def custom_status(fleet: FleetState) -> dict[str, Any]:
    """What an orchestrator shows of itself: counters, and the most frequent failures in words."""
    often = sorted(fleet.failures.items(), key=lambda item: -item[1]["count"])[:SHOWN_FAILURES]
    return {
        "phase": fleet.phase,
        "machines": {
            "wanted": fleet.order["n_instances"],
            "accepted": sum(tally["accepted"] for tally in fleet.tallies.values()),
            "permitted": fleet.permitted(),
            "running": fleet.count("running"),
            "failed": fleet.count("failed"),
            "gone": fleet.count("gone"),
        },
        "missing": missing(fleet),
        "places": [
            {"place": place, **tally} for place, tally in list(fleet.tallies.items())[:SHOWN_PLACES]
        ],
        "trials": fleet.trials,
        "failures": [{"code": code, **group} for code, group in often],
        "warnings": fleet.warnings[:SHOWN_FAILURES],
        "created_at": fleet.order.get("created_at"),
        "provisioned_at": fleet.provisioned_at,
        "deadline": fleet.order.get("deadline"),
        "reason": fleet.reason,
    }


def missing(fleet: FleetState) -> dict[str, int]:
    """VMs that were wanted and are not there, by the code of what kept them away.

    Those never asked for count under what stopped the asking; while we still ask, they are not
    missing yet.
    """
    counts = Counter(fleet.given_up)
    counts.update(opening["code"] for opening in fleet.openings)
    counts.update(postponed["code"] for postponed in fleet.again)
    if fleet.fresh and fleet.phase not in STARTING:
        counts[why_no_more(fleet)] += fleet.fresh
    return dict(counts)


def why_no_more(fleet: FleetState) -> str:
    """The code of what keeps a fleet from asking for more VMs."""
    if fleet.stopped is not None:
        return fleet.stopped["code"]
    if fleet.reason is not None:
        return fleet.reason["code"]
    if fleet.phase == "cancelled":
        return "Cancelled"
    if fleet.blocks:
        return fleet.blocks[0]["code"]
    return "AttemptsSpent" if fleet.budget() <= 0 else "NoTrialsLeft"


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
        "missing": shown.get("missing", {}),
        "places": shown.get("places", []),
        "trials": shown.get("trials"),
        "failures": shown.get("failures", []),
        "warnings": shown.get("warnings", []),
        "reason": shown.get("reason"),
        "created_at": shown.get("created_at") or instance["createdTime"],
        "updated_at": instance["lastUpdatedTime"],
        "provisioned_at": shown.get("provisioned_at"),
        "deadline": shown.get("deadline"),
        "summary": (instance.get("output") or {}).get("summary") if phase in TERMINAL else None,
    }


def machines(instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One record per VM, in order of ordinal, as the fleet's last history had begun or ended.

    `place`, `state`, `attempt`, `replaces`, `created_at`, and for one that failed `ended`.
    """
    records = (instance.get("output") or instance["input"]).get("machines", [])
    return [{name: record[name] for name in SHOWN_MEMBERS} for record in records]
