"""The custom status: what a fleet's orchestrator publishes, in at most LONGEST characters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

from fleet.model.failure import shorten
from fleet.model.failure_counts import FailureCount
from fleet.model.placement import PlacementCounts
from fleet.model.records import Failure, Price, Trials, VmCounts
from fleet.model.state import FleetState
from fleet.model.vm_counts import missing, vm_counts

SHOWN_FAILURES = 8
SHOWN_PLACEMENTS = 12
SHOWN_CODES = 12
"""Of missing VMs, and of the failures in one placement; the rest are added up as OTHER_CODES."""
OTHER_CODES = "others"
WARNING_CHARACTERS = 200
LONGEST = 7000
"""Characters of a custom status as JSON. Above 16 KB in UTF-16, the host fails the orchestration."""
SHORTENED = (120, 60)
"""Characters of each text where dropping entries was not enough; a timestamp is shorter."""

MAX_TIMER_SECONDS = 10.0
"""Longest durable timer. A longer wait takes several, so that the custom status is updated meanwhile; in
phase `run`, the interval between two polls is one timer."""


class ShownPlacement(PlacementCounts):
    placement: str


class ShownFailure(FailureCount):
    code: str


class CustomStatus(TypedDict):
    """Counters, and the most frequent failures."""

    version: str | None
    phase: str
    machines: VmCounts
    missing: dict[str, int]
    placements: list[ShownPlacement]
    trials: Trials | None
    failures: list[ShownFailure]
    warnings: list[str]
    created_at: str | None
    provisioned_at: str | None
    deadline: str | None
    reason: Failure | None
    ended_in: str | None
    prices: dict[str, Price]
    """As in the order. The input of the first history lacks them."""


def custom_status(fleet: FleetState) -> CustomStatus:
    """At most LONGEST characters as JSON, however many failures and placements there are."""
    counts = fleet.placements.counts
    return _fitted(
        {
            "version": fleet.version,
            "phase": fleet.phase,
            "machines": vm_counts(fleet),
            "missing": _most_frequent(missing(fleet)),
            "placements": [
                {
                    "placement": label,
                    "accepted": count["accepted"],
                    "failed": _most_frequent(count["failed"]),
                }
                for label, count in list(counts.items())[:SHOWN_PLACEMENTS]
            ],
            "trials": fleet.trials,
            "failures": [
                {"code": code, **count}
                for code, count in fleet.failures.most_frequent()[:SHOWN_FAILURES]
            ],
            "warnings": [
                _cut(text, WARNING_CHARACTERS) for text in fleet.warnings[:SHOWN_FAILURES]
            ],
            "created_at": fleet.order.get("created_at"),
            "provisioned_at": fleet.provisioned_at,
            "deadline": fleet.order.get("deadline"),
            "reason": fleet.reason,
            "ended_in": fleet.ended_in,
            "prices": fleet.order.get("prices", {}),
        }
    )


def _fitted(shown: Any) -> CustomStatus:
    """A custom status cut down to LONGEST: the least useful entries are dropped first."""
    for part in ("warnings", "placements", "failures"):
        while len(json.dumps(shown)) > LONGEST and len(shown[part]) > 1:
            shown[part].pop()
    for most in SHORTENED:
        if len(json.dumps(shown)) > LONGEST:
            shown = _cut(shown, most)
    fitted: CustomStatus = shown
    return fitted


def _cut(shown: Any, most: int) -> Any:
    """JSON with every text cut to `most` characters."""
    match shown:
        case str():
            return shorten(shown, most)
        case dict():
            return {_cut(name, most): _cut(value, most) for name, value in shown.items()}
        case list():
            return [_cut(value, most) for value in shown]
        case _:
            return shown


def _most_frequent(codes: Mapping[str, int]) -> dict[str, int]:
    """The SHOWN_CODES most frequent codes, and the sum of the rest."""
    shown = Counter(codes).most_common(SHOWN_CODES)
    rest = sum(codes.values()) - sum(count for _, count in shown)
    return dict(shown) | ({OTHER_CODES: rest} if rest else {})
