"""How a fleet scales, in ratios: makespan over its bound, throttling, and the cost of a VM.

    python -m benchmarks.scale [--sizes 1 10 100 1000] [--largest 5000] [--max-undead 50]
        [--time-scale 0.5] [--seed 0] [--chart docs/makespan.svg] [--without-boot]

Each size gets a new stack (benchmarks/fleet_run.py), and benchmarks/bound.py says what bounds it. The
last rows are two fleets of half the size beside one fleet. On a loaded machine, use a larger time scale:
the makespan includes what the machine takes.
"""

from __future__ import annotations

import argparse
import heapq
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import boot
from benchmarks.bound import VM_KINDS, earliest
from benchmarks.chart import Series, line_chart
from benchmarks.common import make_parser, make_table, new_stack
from benchmarks.fleet_run import PROCESSES, Figures, Workload, measure
from local.azure.latency import Latencies
from local.demo import fleets

CHART_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def main() -> None:
    options = _options()
    console = Console(width=100, highlight=False)
    sizes = [*options.sizes, *([options.largest] if options.largest else [])]
    halves = max(options.sizes) // 2
    workloads = [(size,) for size in sizes] + ([(halves, halves)] if halves else [])
    measured: list[Figures] = []
    try:
        for vms in workloads:
            console.print(f"{_label(vms)} VMs …")
            workload = Workload(vms, options.max_undead, options.time_scale, options.seed)
            measured.append(measure(workload))
    finally:  # a run takes minutes: an interrupted one shows what it has measured
        if measured:
            console.print(makespans(measured), costs(measured), kinds(measured), sep="\n")
    if options.chart:
        options.chart.write_text(chart(measured))
    console.print(f"Cold start of the host, until its first response: {cold_start():.1f} s")
    if not options.without_boot:
        console.print(boot.table(boot.measure_all(console, repeats=1, with_cli=False)))


def makespans(measured: Sequence[Figures]) -> Table:
    """What users wait for, and what bounds it."""
    first = measured[0].workload
    title = f"Until all VMs run; max_undead {first.max_undead}; simulated seconds, one run"
    shown = make_table(
        title, "VMs", "makespan", "bound", "ratio", "bounded by", "429s", "of requests"
    )
    for one in measured:
        shown.add_row(
            _label(one.workload.fleets),
            f"{one.makespan:.0f} s",
            f"{one.bound:.0f} s",
            f"{one.ratio:.2f}",
            bounded_by(one.size, one.workload.max_undead),
            str(one.throttled),
            f"{100 * one.throttled_share:.1f} %",
        )
    return shown


def bounded_by(size: int, max_undead: int) -> str:
    """The limit of Azure that the last VM waits for, if any."""
    if earliest(size - 1, max_undead) <= 0:
        return "boot"
    interfaces = (size - 1) // 1000 * 300
    return "interfaces" if earliest(size - 1, max_undead) == interfaces else "writes"


def costs(measured: Sequence[Figures]) -> Table:
    """CPU of each process, and storage transactions, from the request to the last deletion."""
    title = "Per VM, from the request to the last deletion"
    shown = make_table(title, "VMs", *(f"{name} CPU" for name in PROCESSES), "storage transactions")
    for one in measured:
        shown.add_row(
            _label(one.workload.fleets),
            *(f"{1000 * one.cpu[name] / one.size:.0f} ms" for name in PROCESSES),
            f"{one.transactions / one.size:.1f}",
        )
    return shown


def kinds(measured: Sequence[Figures]) -> Table:
    """The requests per VM until all VMs run, by kind."""
    names = sorted(
        {kind for one in measured for kind in one.requests},
        key=lambda kind: (kind not in VM_KINDS, kind),
    )
    shown = make_table("Requests per VM until all VMs run, by kind", "VMs", *names)
    for one in measured:
        shown.add_row(_label(one.workload.fleets), *(f"{one.per_vm(name):.2f}" for name in names))
    return shown


def chart(measured: Sequence[Figures]) -> str:
    """An SVG of the makespan by number of VMs, beside the bound and Powerlift's own executor."""
    singles = [one for one in measured if len(one.workload.fleets) == 1]
    largest, seed = max(one.size for one in singles), singles[0].workload.seed
    sizes = [size for size in CHART_SIZES if size <= largest]
    return line_chart(
        "Time until all VMs run",
        "VMs",
        "simulated seconds",
        [
            Series("Powerlift's own", [(n, upstream(n, seed)) for n in sizes]),
            Series("measured", [(one.size, one.makespan) for one in singles], marks=True),
            Series("bound", [(one.size, one.bound) for one in singles], dashed=True),
        ],
    )


def upstream(size: int, seed: int) -> float:
    """Seconds that `run_azure_process` takes with these latencies: it has two VMs in creation at a time,
    and waits for each interface and each VM.
    """
    draw = Latencies(seed).draw
    busy = [0.0, 0.0]
    for ordinal in range(size):
        vm = f"powerlift-vm-1-{ordinal:04}"
        took = draw("nic.put", vm) + draw("vm.put", vm) + draw("vm.boot", vm)
        heapq.heapreplace(busy, busy[0] + took)
    return max(busy)


def cold_start() -> float:
    """Seconds from the start of a host, on an existing task hub, to its first response."""
    with new_stack(time_scale=0.01) as stack:
        stack.kill_host()
        began = time.monotonic()
        stack.start_host()
        fleets.status(stack.url, stack.key, "fleet-1")
        return time.monotonic() - began


def _label(vms: Iterable[int]) -> str:
    return " + ".join(f"{count:,}" for count in vms)


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[1, 10, 100, 1000])
    add("--largest", type=int, default=0, metavar="N", help="one more size, such as 5000")
    add("--max-undead", type=int, default=50, help="VMs that may be without their role")
    add("--time-scale", type=float, default=0.5, help="wall seconds per simulated second")
    add("--seed", type=int, default=0)
    add("--chart", type=Path, metavar="FILE", help="write the makespans as an SVG")
    add("--without-boot", action="store_true", help="skip the boot of a VM")
    return parser.parse_args()


if __name__ == "__main__":
    main()
