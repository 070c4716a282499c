"""Measures fleets that one principal creates at once: makespan, throttling, LISTs, cost of a grant.

    python -m benchmarks.shared_budget [--fleets 1 2 4] [--vms 100] [--max-undead 20] [--time-scale 0.5]

Each number of fleets creates the same VMs in all, on a new stack with recorded latencies and Azure's
throttling. A grant is measured against the stack's database, without load.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, cast

from rich.console import Console

from benchmarks.common import make_parser, make_table, new_stack
from benchmarks.fleet_run import is_provisioned, seconds_between, until
from fleet.model.records import Order
from fleet.model.write_budget import Ask
from fleet.store import write_budgets
from local.demo import experiment, fleets
from local.stack import Stack

GRANTS = 200
ORDER = {"writes_per_second": 10.0, "resource_uris": [], "client_principal_id": None}
VMS = "/microsoft.compute/virtualmachines"


@dataclass(frozen=True, slots=True)
class Figures:
    """The measurements of fleets that were submitted at once."""

    makespan: float
    """Simulated seconds until all VMs of all fleets ran."""
    first: float
    """Simulated seconds until those of the first fleet did."""
    throttled: int
    """PUTs of NICs, VMs and roles with a 429 response. (Fleets that create the network of a region at
    the same time get 429s for another reason.)"""
    pages: int
    """Pages of LISTs of VMs."""
    fleet_ids: tuple[str, ...]


def provision(stack: Stack, number: int, sizes: list[int], max_undead: int) -> Figures:
    """Submit a fleet for each size at once, and wait until all their VMs run.

    `number`: of an experiment with a trial for each VM.
    """
    before = len(stack.wire())
    request = {"experiment_id": number, "max_undead": max_undead}

    def one(size: int) -> tuple[str, dict[str, Any]]:
        fleet_id = fleets.post(stack.url, stack.key, {**request, "n_instances": size})
        return fleet_id, until(stack, fleet_id, is_provisioned)

    with ThreadPoolExecutor(len(sizes)) as pool:
        done = list(pool.map(one, sizes))
    calls = stack.wire()[before:]
    began = min(status["created_at"] for _, status in done)
    ended = [seconds_between(began, status["provisioned_at"]) for _, status in done]
    return Figures(
        max(ended) / stack.time_scale,
        min(ended) / stack.time_scale,
        sum(_is_throttled(call) for call in calls),
        sum(call["method"] == "GET" and call["path"].lower().endswith(VMS) for call in calls),
        tuple(fleet_id for fleet_id, _ in done),
    )


def grant_times(stack: Stack) -> list[float]:
    """Milliseconds of each of GRANTS grants to ten fleets, with a connection each."""
    took = []
    for number in range(GRANTS):
        order = {**ORDER, "subscription_id": stack.arm["subscription_id"], "batch_id": number % 10}
        ask: Ask = {"id": str(number), "roles": 0, "vms": 20, "least": 5, "pause": 0.0}
        began = time.perf_counter()
        write_budgets.take(stack.db_uri, "benchmark", cast(Order, order), ask)
        took.append(1000 * (time.perf_counter() - began))
    return took


def main() -> None:
    options = _options()
    title = f"{options.vms} VMs at once; max_undead {options.max_undead}"
    headings = ("all VMs run", "first fleet's VMs run", "429s", "pages of LISTs")
    table = make_table(title, "fleets", *headings)
    settings = {
        "FLEET_BOOT_POLL_SECONDS": str(5 * options.time_scale),
        "FLEET_MAX_VMS": str(options.vms),
    }
    grants: list[float] = []
    for count in options.fleets:
        with new_stack(
            settings,
            time_scale=options.time_scale,
            seed=options.seed,
            faults={"throttling": True},
        ) as stack:
            share, rest = divmod(options.vms, count)
            sizes = [share + (index < rest) for index in range(count)]
            number = experiment.create(experiment.open_store(stack.db_uri), trials=options.vms)
            figures = provision(stack, number, sizes, options.max_undead)
            grants = grant_times(stack)
        table.add_row(
            str(count),
            f"{figures.makespan:.0f} s",
            f"{figures.first:.0f} s",
            str(figures.throttled),
            str(figures.pages),
        )
    Console().print(table)
    print(f"A grant: median {median(grants):.1f} ms, p95 {quantiles(grants, n=20)[18]:.1f} ms")


def _is_throttled(call: dict[str, Any]) -> bool:
    of_vm = any(kind in call["path"].lower() for kind in ("/networkinterfaces/", f"{VMS}/"))
    return call["status"] == 429 and call["method"] == "PUT" and of_vm


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--fleets", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--vms", type=int, default=100, help="of all fleets together")
    parser.add_argument("--max-undead", type=int, default=20)
    parser.add_argument("--time-scale", type=float, default=0.5, help="wall s per simulated s")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
