"""Runs fleets on a new stack, from the request to the last deletion, and measures them.

Each stack has recorded latencies and Azure's throttling; nothing runs inside the VMs. Times are
simulated seconds. CPU seconds are real and hardly depend on the load of this machine.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psutil

from benchmarks.bound import kind_of, makespan_bound
from benchmarks.common import new_stack
from local.demo import experiment, fleets
from local.stack import Stack

TIMEOUT = 7200.0
"""Wall seconds per fleet."""
PROCESSES = {
    "host": "local.functions",
    "simulator": "local.azure",
    "Azurite": "azurite",
    "PostgreSQL": "postgres",
}
"""The stack's processes: a part of their command lines. The host runs the app and its own engine."""
_EPISODE = re.compile(r"Executed '(?:run_fleet|\w+_wave|teardown_fleet)'")


@dataclass(frozen=True, slots=True)
class Workload:
    """What to run. `fleets` are the numbers of VMs of the fleets, which start together."""

    fleets: Sequence[int]
    max_undead: int
    time_scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The measurements of one workload. Times are simulated seconds; CPU time is real."""

    workload: Workload
    makespan: float
    """From the first request until all VMs of all fleets run and have their roles."""
    bound: float
    requests: Counter[str]
    throttled: int
    """Requests with a 429 response."""
    cpu: Mapping[str, float]
    """CPU seconds by process, from the request to the last deletion."""
    transactions: int
    """Storage transactions of the task hub, from the request to the last deletion."""

    @property
    def size(self) -> int:
        return sum(self.workload.fleets)

    @property
    def ratio(self) -> float:
        return self.makespan / self.bound

    @property
    def throttled_share(self) -> float:
        return self.throttled / self.requests.total()

    def per_vm(self, *kinds: str) -> float:
        return sum(self.requests[kind] for kind in kinds) / self.size


def measure(workload: Workload) -> Figures:
    """Run fleets until all their VMs run, cancel them, and wait until everything is deleted."""
    settings = {
        "FLEET_MAX_VMS": str(sum(workload.fleets)),
        "FLEET_RUN_POLL_SECONDS": str(10 * workload.time_scale),
    }
    with new_stack(
        settings,
        time_scale=workload.time_scale,
        seed=workload.seed,
        faults={"throttling": True},
        role_assignment_limit=2 * sum(workload.fleets) + 100,
    ) as stack:
        store = experiment.open_store(stack.db_uri)
        number = experiment.create(store, trials=sum(workload.fleets))
        before, hub = _cpu(), _transactions(stack)
        ids = [
            fleets.post(stack.url, stack.key, _request(workload, number, batch))
            for batch in range(1, len(workload.fleets) + 1)
        ]
        statuses = [until(stack, fleet_id, is_provisioned) for fleet_id in ids]
        provisioned = stack.wire()
        for fleet_id in ids:
            fleets.cancel(stack.url, stack.key, fleet_id)
        for fleet_id in ids:
            until(stack, fleet_id, has_ended)
        start = min(status["created_at"] for status in statuses)
        end = max(status["provisioned_at"] for status in statuses)
        return Figures(
            workload,
            seconds_between(start, end) / workload.time_scale,
            makespan_bound(provisioned, workload.max_undead, workload.seed, stack.arm["location"]),
            Counter(kind_of(call) for call in provisioned),
            sum(call["status"] == 429 for call in provisioned),
            {name: used - before[name] for name, used in _cpu().items()},
            _transactions(stack) - hub,
        )


def until(
    stack: Stack, fleet_id: str, reached: Callable[[Mapping[str, Any]], bool]
) -> dict[str, Any]:
    """The fleet's status once `reached` holds for it. Raises RuntimeError if it fails before."""
    deadline, pause = time.monotonic() + TIMEOUT, 0.2
    while time.monotonic() < deadline:
        status = fleets.status(stack.url, stack.key, fleet_id)
        if status is not None and reached(status):
            return status
        if status is not None and status["phase"] == "failed":
            raise RuntimeError(f"{fleet_id} failed: {status['reason']}")
        # A status takes CPU in proportion to the VMs: few of them, however long the fleet runs.
        pause = min(1.2 * pause, 20.0)
        time.sleep(pause)
    raise TimeoutError(f"{fleet_id} did not end within {TIMEOUT:.0f} s")


def is_provisioned(status: Mapping[str, Any]) -> bool:
    return status["provisioned_at"] is not None


def has_ended(status: Mapping[str, Any]) -> bool:
    return status["phase"] in ("done", "failed", "cancelled")


def _request(workload: Workload, experiment_id: int, batch: int) -> dict[str, Any]:
    return {
        "experiment_id": experiment_id,
        "n_instances": workload.fleets[batch - 1],
        "max_undead": workload.max_undead,
        "batch_id": batch,
    }


def _cpu() -> dict[str, float]:
    """CPU seconds of the stack's processes, with those of their children that have exited."""
    used = dict.fromkeys(PROCESSES, 0.0)
    for process in psutil.Process().children(recursive=True):
        command = " ".join(process.cmdline())
        name = next((name for name, part in PROCESSES.items() if part in command), None)
        if name is not None:
            times = process.cpu_times()
            used[name] += times.user + times.system + times.children_user + times.children_system
    return used


def _transactions(stack: Stack) -> int:
    """Transactions of Azure Storage that the task hub's messages and episodes so far would take.

    The provider puts, gets and deletes each message, and for each episode writes its events (a batch
    holds 100; few episodes have more) and updates the instance. Polls of empty queues and renewals of
    leases, which depend on time only, are left out, as are blobs of messages above 60 KB.
    """
    file = stack.state_dir / "host" / "durable.sqlite"
    with closing(sqlite3.connect(file)) as database:
        messages = database.execute("SELECT sum(seq) FROM sqlite_sequence").fetchone()[0] or 0
    episodes = len(_EPISODE.findall((stack.logs / "host.log").read_text()))
    return 3 * int(messages) + 2 * episodes


def seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
