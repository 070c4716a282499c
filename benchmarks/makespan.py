"""How long until a fleet runs, beside the critical path of the same draws.

    python -m benchmarks.makespan [--sizes 1 10 100] [--max-undead 20] [--time-scale 0.5] [--seed 0]

For each size a new stack with the simulator's recorded latencies and Azure's own throttling limits;
VMs pretend to run. The bound is
worked out from the very draws that the simulator makes: the network, then the slowest VM's NIC,
acceptance, role and boot, one after the other. A VM boots while its role is assigned, so a small
fleet can be a little quicker.
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

from local.azure.latency import Latencies
from local.demo import experiment, fleets
from local.stack import Stack

PATIENCE = 1800.0
"""Seconds that one fleet may take on the wall."""

BATCH = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """One fleet, measured. Times are simulated seconds, CPU is wall seconds."""

    size: int
    makespan: float
    bound: float
    requests: Counter[str]
    host_cpu: float
    throttled: int
    """Requests that Azure answered with 429."""

    @property
    def ratio(self) -> float:
        return self.makespan / self.bound

    def per_vm(self, *kinds: str) -> float:
        return sum(self.requests[kind] for kind in kinds) / self.size


PLAN = ("/skus", "/usages", "/permissions", "/roleassignments")
"""Lists that only the plan asks for, once a fleet."""

VM_KINDS = ("NIC PUT", "VM PUT", "role PUT", "VM DELETE", "role DELETE", "other")
"""Requests that are made for single VMs; LISTs and the network's are for the whole fleet."""


def main() -> None:
    options = _options()
    console = Console()
    measured = []
    for size in options.sizes:
        console.print(f"{size} VMs …", highlight=False)
        measured.append(measure(size, options.max_undead, options.time_scale, options.seed))
    console.print(table(measured, options.max_undead), kinds(measured), sep="\n")


def measure(size: int, max_undead: int, time_scale: float, seed: int) -> Figures:
    """Run one fleet on a stack of its own, until all its VMs run with their roles; then delete it."""
    settings = {
        "FLEET_BOOT_POLL_SECONDS": str(5 * time_scale),
        "FLEET_SWEEP_SCHEDULE": "0 0 0 1 1 *",  # not now: its requests are no fleet's
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
        status = _until_provisioned(stack, fleet_id)
        after = host.cpu_times()
        return Figures(
            size,
            _seconds(status["created_at"], status["provisioned_at"]) / time_scale,
            bound(stack, size, seed),
            Counter(_kind(call) for call in stack.wire()),
            after.user + after.system - before.user - before.system,
            sum(call["status"] == 429 for call in stack.wire()),
        )


def bound(stack: Stack, size: int, seed: int) -> float:
    """The critical path, in simulated seconds: what must happen one after the other, at its fastest."""
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
            draw("nic.put", nic) + draw("vm.put", vm) + max(role, ready) + draw("vm.boot", vm)
        )
    assert len(chains) >= size, f"{len(chains)} VMs were made, not {size}"
    network = draw("vnet.put", f"powerlift-vnet-{stack.arm['location']}")
    return network + max(chains)


def table(measured: list[Figures], max_undead: int) -> Table:
    """The figures as they stand in the README."""
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
    """Every request until then, by kind and per VM."""
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


def _until_provisioned(stack: Stack, fleet_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = fleets.status(stack.url, stack.key, fleet_id)
        if status is not None and status["provisioned_at"] is not None:
            return status
        assert status is None or status["phase"] not in ("failed", "cancelled"), status
        time.sleep(0.2)
    raise TimeoutError(f"{fleet_id} did not come to run within {PATIENCE:.0f} s")


def _kind(call: dict[str, Any]) -> str:
    """What a request was for; those of Entra and of the fleet as a whole have kinds of their own."""
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
