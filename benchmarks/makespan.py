"""Measures the time until all VMs of a fleet run, relative to the critical path of the same latencies.

    python -m benchmarks.makespan [--sizes 1 10 100] [--max-undead 20] [--time-scale 0.5] [--seed 0]

Each size gets a new stack with recorded latencies and Azure's throttling; nothing runs inside the
VMs. The bound is computed from the latencies that the simulator draws and from Azure's limits of writes:
the network, then the last VM to be ready, if each VM is requested in order and as early as the limits
allow, and its NIC, acceptance, role and boot follow in sequence. A VM boots while its role is assigned,
so a small fleet can be slightly faster.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from local.azure.faults.rate_limits import RATES
from local.azure.latency import Latencies
from local.demo import experiment, fleets
from local.stack import Stack

TIMEOUT = 1800.0
"""Wall seconds per fleet."""

BATCH = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """The measurements of one fleet. Times are simulated seconds; CPU time is real."""

    size: int
    makespan: float
    bound: float
    requests: Counter[str]
    host_cpu: float
    throttled: int
    """Requests with a 429 response."""

    @property
    def ratio(self) -> float:
        return self.makespan / self.bound

    def per_vm(self, *kinds: str) -> float:
        return sum(self.requests[kind] for kind in kinds) / self.size


PLAN = ("/skus", "/usages", "/permissions", "/roleassignments")
"""Lists that only the plan requests, once per fleet."""

VM_KINDS = ("NIC PUT", "VM PUT", "role PUT", "VM DELETE", "role DELETE", "other")
"""Requests per VM. LISTs and network requests are per fleet."""


def main() -> None:
    options = _options()
    console = Console()
    measured = []
    for size in options.sizes:
        console.print(f"{size} VMs …", highlight=False)
        measured.append(measure(size, options.max_undead, options.time_scale, options.seed))
    console.print(table(measured, options.max_undead), kinds(measured), sep="\n")


def measure(size: int, max_undead: int, time_scale: float, seed: int) -> Figures:
    """Run one fleet on its own stack until all its VMs run and have their roles."""
    settings = {
        "FLEET_BOOT_POLL_SECONDS": str(5 * time_scale),
        "FLEET_MAX_VMS": str(size),
        "FLEET_SWEEP_SCHEDULE": "0 0 0 1 1 *",  # never, so that its requests are not counted
    }
    with (
        tempfile.TemporaryDirectory() as state,
        Stack(
            Path(state),
            time_scale=time_scale,
            seed=seed,
            machines="none",
            app_settings=settings,
            faults={"throttling": True},
        ) as stack,
    ):
        number = experiment.create(experiment.open_store(stack.db_uri), trials=size)
        request = {
            "experiment_id": number,
            "n_instances": size,
            "max_undead": max_undead,
            "batch_id": BATCH,
        }
        host = psutil.Process(stack.host_pid)
        before = host.cpu_times()
        fleet_id = fleets.post(stack.url, stack.key, request)
        status = until_provisioned(stack, fleet_id)
        after = host.cpu_times()
        return Figures(
            size,
            _seconds(status["created_at"], status["provisioned_at"]) / time_scale,
            bound(stack, size, max_undead, seed),
            Counter(_kind(call) for call in stack.wire()),
            after.user + after.system - before.user - before.system,
            sum(call["status"] == 429 for call in stack.wire()),
        )


def bound(stack: Stack, size: int, max_undead: int, seed: int) -> float:
    """The length of the critical path, in simulated seconds."""
    draw = Latencies(seed).draw
    chains = []
    for call in stack.wire():
        if _kind(call) != "VM PUT":
            continue
        vm = call["path"].rsplit("/", 1)[-1]
        nic = vm.replace("-vm-", "-nic-")
        role = min(
            draw("role.put", other["path"].rsplit("/", 1)[-1])
            for other in stack.wire()
            if _kind(other) == "role PUT" and f"/{vm}/" in other["path"]
        )
        ready = draw("identity.replication", vm)
        chains.append(
            earliest(int(vm.rpartition("-")[2]), max_undead)
            + draw("nic.put", nic)
            + draw("vm.put", vm)
            + max(role, ready)
            + draw("vm.boot", vm)
        )
    assert len(chains) >= size, f"{len(chains)} VMs were created, not {size}"
    network = draw("vnet.put", f"powerlift-vnet-{stack.arm['location']}")
    return network + max(chains)


def earliest(ordinal: int, max_undead: int) -> float:
    """When Azure's limits allow to request a VM at the earliest, in simulated seconds: after two writes
    for each VM, and the role of each but the last `max_undead`.
    """
    count = ordinal + 1
    writes, nics = RATES["writes"], RATES["network_writes"]
    sent = 2 * count + max(0, count - max_undead)
    return max(
        (sent - writes.bucket) / writes.refill * writes.period,
        ordinal // nics.bucket * nics.period,
    )


def table(measured: list[Figures], max_undead: int) -> Table:
    """The measurements as shown in docs/performance.md."""
    shown = Table(title=f"Until all VMs run; max_undead {max_undead}; simulated seconds, one run")
    for heading in (
        "VMs",
        "makespan",
        "bound",
        "ratio",
        "requests per VM",
        "host CPU per VM",
        "429s",
    ):
        shown.add_column(heading, justify="right")
    for one in measured:
        shown.add_row(
            str(one.size),
            f"{one.makespan:.0f} s",
            f"{one.bound:.0f} s",
            f"{one.ratio:.2f}",
            f"{one.per_vm(*VM_KINDS):.2f}",
            f"{1000 * one.host_cpu / one.size:.0f} ms",
            str(one.throttled),
        )
    return shown


def kinds(measured: list[Figures]) -> Table:
    """The requests per VM, by kind."""
    shown = Table(title="Requests per VM, by kind")
    shown.add_column("VMs", justify="right")
    names = sorted({kind for one in measured for kind in one.requests}, key=_rank)
    for name in names:
        shown.add_column(name, justify="right")
    for one in measured:
        shown.add_row(str(one.size), *(f"{one.per_vm(name):.2f}" for name in names))
    return shown


def _rank(kind: str) -> tuple[bool, str]:
    return kind not in VM_KINDS, kind


def until_provisioned(stack: Stack, fleet_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        status = fleets.status(stack.url, stack.key, fleet_id)
        if status is not None and status["provisioned_at"] is not None:
            return status
        assert status is None or status["phase"] not in ("failed", "cancelled"), status
        time.sleep(0.2)
    raise TimeoutError(f"{fleet_id} was not provisioned within {TIMEOUT:.0f} s")


def _kind(call: dict[str, Any]) -> str:
    """The kind of a request."""
    path, method = call["path"], call["method"]
    if not path.startswith("/subscriptions/"):
        return "token"
    if path.lower().endswith(PLAN):
        return "plan GET"
    for part, noun in (
        ("/roleAssignments", "role"),
        ("/networkInterfaces", "NIC"),
        ("/virtualMachines", "VM"),
        ("/virtualNetworks", "network"),
        ("/disks", "disk"),
    ):
        if part.lower() in path.lower():
            if method == "GET" and path.lower().endswith(part.lower()):
                return f"{noun} LIST"
            return "network" if noun == "network" else f"{noun} {method}"
    return "plan GET" if path.lower().count("/") == 4 else "other"


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.makespan", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--max-undead", type=int, default=20)
    parser.add_argument("--time-scale", type=float, default=0.5, help="wall s per simulated s")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
