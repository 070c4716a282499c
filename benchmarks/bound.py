"""The critical path of a fleet: the least time in which Azure lets it provision its VMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.azure.faults.rate_limits import RATES
from local.azure.latency import Latencies

Call = Mapping[str, Any]
"""A line of the simulator's wire log."""

PLAN = ("/skus", "/usages", "/permissions", "/roleassignments", "/roleassignmentsusagemetrics")
"""Lists that only the plan requests, once per fleet."""
VM_KINDS = ("NIC PUT", "VM PUT", "role PUT", "VM DELETE", "role DELETE", "other")
"""Requests per VM. LISTs and network requests are per fleet."""
_NOUNS = {
    "/roleassignments": "role",
    "/networkinterfaces": "NIC",
    "/virtualmachines": "VM",
    "/virtualnetworks": "network",
    "/disks": "disk",
}


def makespan_bound(wire: Sequence[Call], max_undead: int, seed: int, location: str) -> float:
    """The length of the critical path, in simulated seconds.

    It is computed from the latencies that the simulator draws and from Azure's limits of writes: the
    network, then the last VM to be ready, if each VM is requested in order and as early as the limits
    allow, and its NIC, acceptance, role and boot follow in sequence. A VM boots while its role is
    assigned, so a small fleet can be slightly faster.
    """
    draw = Latencies(seed).draw
    vms = {_name(call["path"]) for call in wire if kind_of(call) == "VM PUT"}
    roles: dict[str, float] = {}
    for call in wire:
        if kind_of(call) == "role PUT":
            vm = call["path"].split("/virtualMachines/")[-1].partition("/")[0]
            delay = draw("role.put", _name(call["path"]))
            roles[vm] = min(delay, roles.get(vm, delay))
    ready = [
        earliest(place, max_undead)
        + draw("nic.put", vm.replace("-vm-", "-nic-"))
        + draw("vm.put", vm)
        + max(roles[vm], draw("identity.replication", vm))
        + draw("vm.boot", vm)
        for place, vm in enumerate(sorted(vms, key=_by_ordinal))
    ]
    return draw("vnet.put", f"powerlift-vnet-{location}") + max(ready)


def earliest(place: int, max_undead: int) -> float:
    """When Azure's limits allow to request a VM at the earliest, in simulated seconds: after two writes
    for each VM, and the role of each but the last `max_undead`. `place`: VMs requested before.
    """
    count = place + 1
    writes, nics = RATES["writes"], RATES["network_writes"]
    sent = 2 * count + max(0, count - max_undead)
    return max(
        (sent - writes.bucket) / writes.refill * writes.period,
        place // nics.bucket * nics.period,
    )


def kind_of(call: Call) -> str:
    """The kind of a request."""
    path, method = call["path"].lower(), call["method"]
    if not path.startswith("/subscriptions/"):
        return "token"
    if path.endswith(PLAN):
        return "plan GET"
    for part, noun in _NOUNS.items():
        if part in path:
            if method == "GET" and path.endswith(part):
                return f"{noun} LIST"
            return "network" if noun == "network" else f"{noun} {method}"
    return "plan GET" if path.count("/") == 4 else "other"


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _by_ordinal(vm: str) -> tuple[int, str]:
    """VMs of several fleets alternate."""
    batch, _, ordinal = vm.rpartition("-")
    return int(ordinal), batch
