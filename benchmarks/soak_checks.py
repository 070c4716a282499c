"""What must hold after a soak: nothing left, nothing lost, nothing that grows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from local.stack import Stack
from tests.harness import TERMINAL, all_resource_ids, received, sql

LIFETIME = 120
"""Seconds, `max_lifetime` of each fleet: one whose trials cannot end fails then."""
RETENTION = 15.0
"""Seconds after its end and its deadline for which a fleet's records are kept."""
CLEANED = LIFETIME + RETENTION + 60.0
"""Seconds after the last fleet's end in which sweep and purge must have deleted everything."""
GROWTH = 0.10
"""By how much the host's memory may grow within the samples."""
POISON = "powerlift-fleets-poison"

_BENCHMARK = ("machine", "runner", "trial", "loss")
_HUB = ("instances", "history", "messages", "activities")
_TRIALS = """
    SELECT id, runner_id, start_time, end_time, errmsg,
           (SELECT count(*) FROM measure_outcome WHERE trial_id = trial.id)
    FROM trial WHERE experiment_id = ANY(%s) ORDER BY id
"""


@dataclass
class Memory:
    """Samples of the host's resident memory: (monotonic seconds, bytes)."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def sample(self, at: float, size: int) -> None:
        self.samples.append((at, size))

    def growth(self) -> float:
        """How much larger the last third is than the second, as a share: the first one warms up."""
        sizes = [size for _, size in self.samples]
        third = len(sizes) // 3
        return median(sizes[2 * third :]) / median(sizes[third : 2 * third]) - 1 if third else 0.0

    def __str__(self) -> str:
        return f"host {self.samples[-1][1] / 1e6:.0f} MB" if self.samples else "host is killed"


@dataclass(frozen=True)
class Soaked:
    """What ran: the last status of each fleet, and what existed before."""

    fleets: Sequence[Mapping[str, Any]]
    existing: set[str]
    experiments: Mapping[int, int]
    """By batch."""
    memory: Memory


def problems(stack: Stack, soaked: Soaked) -> list[str]:
    """All that is wrong, one sentence each. Waits until sweep and purge have had their time."""
    until = time.monotonic() + CLEANED
    while (found := list(_leftovers(stack, soaked))) and time.monotonic() < until:
        time.sleep(1.0)
    checks: tuple[Callable[[Stack, Soaked], Iterator[str]], ...] = (_ends, _trials, _growth)
    return found + [text for check in checks for text in check(stack, soaked)]


def _leftovers(stack: Stack, soaked: Soaked) -> Iterator[str]:
    """What sweep and purge have not deleted."""
    for identity in sorted(set(all_resource_ids(stack)) - soaked.existing):
        yield f"Azure still has {identity}"
    for table in _BENCHMARK:
        ((count,),) = sql(stack, f"SELECT count(*) FROM powerlift_fleet_{table}")
        if count:
            yield f"powerlift_fleet_{table} still has {count} rows"
    ((count,),) = sql(stack, "SELECT count(*) FROM powerlift_fleet WHERE purged_at IS NULL")
    if count:
        yield f"{count} fleets are not purged"
    with closing(sqlite3.connect(stack.state_dir / "host" / "durable.sqlite")) as hub:
        for table in _HUB:
            ((count,),) = hub.execute(f"SELECT count(*) FROM {table}").fetchall()
            if count:
                yield f"The task hub still has {count} {table}"
    if messages := received(stack, POISON):
        yield f"The poison queue has {len(messages)} messages, the first: {messages[0][:200]}"


def _ends(stack: Stack, soaked: Soaked) -> Iterator[str]:
    """Each fleet has ended, and has one row."""
    for fleet in soaked.fleets:
        if fleet.get("phase") not in TERMINAL:
            yield f"{fleet['id']} has not ended: {fleet.get('phase', 'never seen')}"
    rows = sql(stack, "SELECT batch_id FROM powerlift_fleet")
    if len(rows) != len(soaked.fleets):
        yield f"{len(soaked.fleets)} fleets were submitted, and {len(rows)} are in the table"


def _trials(stack: Stack, soaked: Soaked) -> Iterator[str]:
    """Each trial is complete and measured once, or free and not measured."""
    for number, runner, start, end, error, measures in sql(
        stack, _TRIALS, list(soaked.experiments.values())
    ):
        state = f"runner {runner}, start {start}, end {end}, error {error}, {measures} measures"
        if end is not None and error is None and measures != 1:
            yield f"Trial {number} is complete: {state}"
        if end is None and (runner != -1 or measures):
            yield f"Trial {number} is neither complete nor free: {state}"


def _growth(stack: Stack, soaked: Soaked) -> Iterator[str]:
    """The host's memory is flat."""
    growth = soaked.memory.growth()
    if growth > GROWTH:
        sizes = [size / 1e6 for _, size in soaked.memory.samples]
        steps = sum(later > sooner for sooner, later in pairwise(sizes))
        yield (
            f"The host's memory grew by {100 * growth:.0f} %, from {sizes[0]:.0f} to "
            f"{sizes[-1]:.0f} MB, in {steps} of {len(sizes)} samples"
        )
