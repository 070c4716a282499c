"""The custom status: what a fleet's orchestrator publishes of itself, in at most LONGEST characters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fleet.model.state import FleetState

SHOWN_FAILURES = 8
SHOWN_PLACEMENTS = 12
SHOWN_CODES = 12
"""Of VMs that are missing, and of failures in one place; the rest together are OTHER_CODES."""
OTHER_CODES = "others"
WARNING_CHARACTERS = 200
LONGEST = 7000
"""Characters of a custom status as JSON. Above 16 KB in UTF-16 the host fails the orchestration."""
SHORTENED = (120, 60)
"""Characters of each text, where dropping parts was not enough; a time has fewer."""

STARTING = frozenset({"plan", "network", "create", "boot"})

HEARTBEAT = 10.0
"""Seconds of a timer: longer waits are several. Only the tick of `run` is one, however long."""


def custom_status(fleet: FleetState) -> dict[str, Any]:
    """What an orchestrator shows of itself: counters, and the most frequent failures in words.

    At most LONGEST characters of JSON, whatever the fleet has met.
    """
    often = sorted(fleet.failures.items(), key=lambda item: -item[1]["count"])[:SHOWN_FAILURES]
    shown: dict[str, Any] = {
        "version": fleet.version,
        "phase": fleet.phase,
        "machines": {
            "wanted": fleet.order["n_instances"],
            "accepted": sum(tally["accepted"] for tally in fleet.tallies.values()),
            "role_assigned": fleet.role_assigned(),
            "running": fleet.count("running"),
            "failed": fleet.count("failed"),
            "deleted": fleet.count("deleted"),
        },
        "missing": _most_frequent(missing(fleet)),
        "placements": [
            {"placement": placement, **tally, "failed": _most_frequent(tally["failed"])}
            for placement, tally in list(fleet.tallies.items())[:SHOWN_PLACEMENTS]
        ],
        "trials": fleet.trials,
        "failures": [{"code": code, **group} for code, group in often],
        "warnings": [_cut(text, WARNING_CHARACTERS) for text in fleet.warnings[:SHOWN_FAILURES]],
        "created_at": fleet.order.get("created_at"),
        "provisioned_at": fleet.provisioned_at,
        "deadline": fleet.order.get("deadline"),
        "reason": fleet.reason,
    }
    return _fitted(shown)


def _fitted(shown: dict[str, Any]) -> dict[str, Any]:
    """A custom status without what goes above LONGEST: the least telling goes first."""
    for part in ("warnings", "placements", "failures"):
        while len(json.dumps(shown)) > LONGEST and len(shown[part]) > 1:
            shown[part].pop()
    for most in SHORTENED:
        if len(json.dumps(shown)) > LONGEST:
            shown = _cut(shown, most)
    return shown


def _cut(shown: Any, most: int) -> Any:
    """JSON whose texts have so many characters at most."""
    match shown:
        case str():
            return shown if len(shown) <= most else f"{shown[: most - 3]}..."
        case dict():
            return {_cut(name, most): _cut(value, most) for name, value in shown.items()}
        case list():
            return [_cut(value, most) for value in shown]
        case _:
            return shown


def _most_frequent(codes: Mapping[str, int]) -> dict[str, int]:
    """The SHOWN_CODES that count most, and the sum of the rest."""
    shown = Counter(codes).most_common(SHOWN_CODES)
    rest = sum(codes.values()) - sum(count for _, count in shown)
    return dict(shown) | ({OTHER_CODES: rest} if rest else {})


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
        return max(fleet.blocks, key=lambda one: datetime.fromisoformat(one["since"]))["code"]
    return "AttemptsSpent" if fleet.budget() <= 0 else "NoTrialsLeft"
