"""`stale_seconds`: for a fleet whose orchestrations no host runs, not for one that Azure throttles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import VISIBILITY_TIMEOUT, Api, eventually, experiment

pytestmark = pytest.mark.long

HTTP, OTHERS = "http", "durable,triggers"
THROTTLED_SECONDS, TIME_SCALE = 50, 0.01
OVERDUE_AFTER = 40
"""Seconds: the longest timer of an orchestrator and the margin."""
FAULTS = [
    {
        "on": "vm.put",
        "times": 1,
        "error": {
            "code": "SubscriptionRequestsThrottled",
            "message": "Too many requests.",
            "status": 429,
            "retry_after": THROTTLED_SECONDS / TIME_SCALE,
        },
    }
]


@dataclass(frozen=True)
class Seen:
    """The fleet's states, in order."""

    throttled: list[dict[str, Any]]
    silent: dict[str, Any]
    continued: dict[str, Any]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    state: Path = tmp_path_factory.mktemp("stale")
    stack = Stack(
        state,
        time_scale=TIME_SCALE,
        machines="none",
        faults={"faults": FAULTS},
        hosts=(HTTP, OTHERS),
        visibility_timeout=VISIBILITY_TIMEOUT,
    )
    with stack:
        api = Api(stack)
        fleet = api.start(experiment_id=experiment(stack), n_instances=1)
        throttled = until_run(api, fleet)
        stack.kill_host(1)
        silent = eventually(lambda: stale(api.get(fleet).json()), 2 * OVERDUE_AFTER)
        stack.start_host()
        continued = eventually(lambda: not_stale(api.get(fleet).json()))
        yield Seen(throttled, silent, continued)
        api.end(fleet)


def until_run(api: Api, fleet: str) -> list[dict[str, Any]]:
    """The fleet's states until its VM runs."""
    states: list[dict[str, Any]] = []

    def runs() -> bool | None:
        states.append(api.get(fleet).json())
        return states[-1]["phase"] == "run" or None

    eventually(runs, 2 * THROTTLED_SECONDS)
    return states


def stale(fleet: dict[str, Any]) -> dict[str, Any] | None:
    return None if fleet["stale_seconds"] is None else fleet


def not_stale(fleet: dict[str, Any]) -> dict[str, Any] | None:
    return fleet if fleet["stale_seconds"] is None else None


def test_a_throttled_fleet_is_not_stale(seen: Seen):
    assert {state["stale_seconds"] for state in seen.throttled} == {None}


def test_the_throttled_fleet_waited_longer_than_a_stale_one(seen: Seen):
    """Else the test above shows nothing."""
    started, *_, provisioned = (
        datetime.fromisoformat(state["updated_at"]) for state in seen.throttled
    )
    assert (provisioned - started).total_seconds() > OVERDUE_AFTER


def test_a_fleet_whose_host_is_gone_is_stale(seen: Seen):
    assert seen.silent["stale_seconds"] >= OVERDUE_AFTER


def test_a_stale_fleet_keeps_its_phase(seen: Seen):
    assert (seen.silent["phase"], seen.silent["outcome"]) == ("run", None)


def test_the_next_update_clears_stale_seconds(seen: Seen):
    assert seen.continued["updated_at"] > seen.silent["updated_at"]
