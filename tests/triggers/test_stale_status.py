"""`stale_seconds`: a fleet without status updates. Each test takes a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import Api, eventually, experiment

pytestmark = pytest.mark.long

SECONDS, TIME_SCALE = 50, 0.01
SLOW, THROTTLED = 9601, 9602
BUSY = {"code": "SubscriptionRequestsThrottled", "message": "Too many requests.", "status": 429}
FAULTS: list[dict[str, Any]] = [
    {"on": "vm.put", "match": f"-{SLOW}-", "times": 1, "slow": SECONDS / TIME_SCALE},
    {
        "on": "vm.put", "match": f"-{THROTTLED}-", "times": 1,
        "error": {**BUSY, "retry_after": SECONDS / TIME_SCALE},
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def fleets_without_updates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Two fleets: Azure responds slowly to one and throttles the other."""
    state: Path = tmp_path_factory.mktemp("stale")
    with Stack(state, time_scale=TIME_SCALE, machines="none", faults={"faults": FAULTS}) as stack:
        api = Api(stack)
        for batch in (SLOW, THROTTLED):
            api.start(experiment_id=experiment(stack), n_instances=1, batch_id=batch)
        yield api


@pytest.fixture(scope="module")
def stale_seconds(fleets_without_updates: Api) -> dict[int, int | None]:
    """`stale_seconds` by batch, once one fleet has a value."""

    def probe() -> dict[int, int | None] | None:
        fleets = [
            fleets_without_updates.get(f"fleet-{batch}").json() for batch in (SLOW, THROTTLED)
        ]
        stale = {fleet["batch_id"]: fleet["stale_seconds"] for fleet in fleets}
        return stale if any(stale.values()) else None

    return eventually(probe)


def test_a_fleet_without_updates_is_stale(
    fleets_without_updates: Api, stale_seconds: dict[int, int | None]
):
    shown = fleets_without_updates.get(f"fleet-{SLOW}").json()["stale_seconds"]
    assert ((stale_seconds[SLOW] or 0) >= 40, (shown or 0) >= 40) == (True, True)


def test_a_throttled_fleet_is_not_stale(
    fleets_without_updates: Api, stale_seconds: dict[int, int | None]
):
    """Its wave updates the status; the fleet's own orchestration does not."""
    fleet = fleets_without_updates.get(f"fleet-{THROTTLED}").json()
    assert (fleet["phase"], fleet["stale_seconds"], stale_seconds[THROTTLED]) == (
        "create",
        None,
        None,
    )


def test_the_next_update_clears_stale_seconds(
    fleets_without_updates: Api, stale_seconds: dict[int, int | None]
):
    fleets = [fleets_without_updates.wait(f"fleet-{batch}", "run") for batch in (SLOW, THROTTLED)]
    assert [fleet["stale_seconds"] for fleet in fleets] == [None, None]
