"""Each row of the error table, driven over the wire: how the fleet ends, and that nothing is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fleet.failures import TABLE
from fleet.names import batch_of, runner_id
from local.stack import Stack
from tests.harness import TERMINAL, Api, eventually, experiment, lose_vm, sql, standing, wire
from tests.orchestrators.failure_cases import CASES, HOME, SIZE, Case

FIRST_BATCH = 8000
BATCHES = {FIRST_BATCH + at: case for at, case in enumerate(CASES)}
PATIENCE = 90.0
"""Seconds for all fleets together; a retry that never helps takes 30."""


def weather() -> dict[str, Any]:
    """The plan: every case's faults, each for its own batch."""
    parts: dict[str, list[Any]] = {"faults": [], "evictions": []}
    for batch, case in BATCHES.items():
        for kind, given in (("faults", case.faults), ("evictions", case.evictions)):
            for one in given:
                match = f"-{batch}-{one.get('vm', '')}"
                rest = {name: value for name, value in one.items() if name != "vm"}
                parts[kind].append({"match": match, **rest})
    return parts


@dataclass
class Outcome:
    """What one fleet came to."""

    fleet: dict[str, Any] = field(default_factory=dict)
    """As the API showed it when it had settled, before it was deleted."""
    machines: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state: Path = tmp_path_factory.mktemp("rows")
    with Stack(state, time_scale=0.01, machines="none", faults=weather()) as running:
        yield running


@pytest.fixture(scope="module")
def outcomes(stormy: Stack) -> dict[str, Outcome]:
    """All fleets, side by side, each deleted as soon as it has come out as it should."""
    api = Api(stormy)
    for batch, case in BATCHES.items():
        start(stormy, api, batch, case)
    found = {batch: Outcome() for batch in BATCHES}
    deadline = time.monotonic() + PATIENCE
    while any(not outcome.machines_known for outcome in []):
        pass
    return {}
