"""Measures what `trial_order` does for comparisons: the spread of the difference of two equal methods.

    python -m benchmarks.pairing [--vms 4] [--slow 1.5] [--tasks 40] [--replicates 3] [--repeats 10]

Trials are taken from a real PostgreSQL, with the SQL of the VM's startup script. The VMs and their time
are simulated: one of them is slow, and the speed of each drifts. Both methods are the same, so every
difference between them is an error of the measurement.
"""

from __future__ import annotations

import argparse
import heapq
import random
import tempfile
from collections import defaultdict
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import psycopg2
from rich.console import Console

from benchmarks.common import make_parser, make_table
from local.postgres import Postgres
from local.stack import CACHE
from tests.fleet.vm.claims import claim_statement

ORDERS = ("fifo", "shuffled", "paired")
NOISE, DRIFT, LONGEST_DRIFT = 0.02, 0.02, 0.15
"""Relative: of each trial; from one trial of a VM to the next; and of a VM over time, at most."""
TABLES = """
    CREATE TABLE trial (
        id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, experiment_id integer, task_id integer,
        method text, replicate_num integer, runner_id integer DEFAULT -1,
        start_time timestamp, end_time timestamp);
    CREATE TABLE powerlift_fleet_runner (
        experiment_id integer, runner_id integer, outcome text, ended_at timestamptz);
    CREATE TABLE powerlift_fleet_trial (
        trial_id integer PRIMARY KEY, experiment_id integer, runner_id integer);
"""


def run(cursor: Any, order: str, seed: int, options: argparse.Namespace) -> list[float]:
    """Run an experiment. Returns the methods' relative difference in each task and replicate."""
    chance = random.Random(seed)
    experiment = len(ORDERS) * seed + ORDERS.index(order)
    for task in range(options.tasks):
        trials = list(product("ab", range(options.replicates)))
        chance.shuffle(trials)  # as the client does
        for method, replicate in trials:
            cursor.execute(
                "INSERT INTO trial (experiment_id, task_id, method, replicate_num)"
                " VALUES (%s, %s, %s, %s)",
                (experiment, task, method, replicate),
            )
    statements = [claim_statement(experiment, vm, order, seed=seed) for vm in range(options.vms)]
    speeds = [options.slow if vm == 0 else 1.0 for vm in range(options.vms)]
    drifts, seconds = [0.0] * options.vms, defaultdict[tuple[int, int], dict[str, float]](dict)
    free = [(chance.random(), vm) for vm in range(options.vms)]
    heapq.heapify(free)
    while free:
        now, vm = heapq.heappop(free)
        cursor.execute(statements[vm])
        if not (claimed := cursor.fetchone()):
            continue
        cursor.execute(
            "UPDATE trial SET end_time = now(), runner_id = -2 WHERE id = %s"
            " RETURNING task_id, replicate_num, method",
            claimed,
        )
        task, replicate, method = cursor.fetchone()
        drift = drifts[vm] + chance.gauss(0, DRIFT)
        drifts[vm] = max(-LONGEST_DRIFT, min(LONGEST_DRIFT, drift))
        speed = speeds[vm] * (1 + drifts[vm]) * (1 + chance.gauss(0, NOISE))
        seconds[task, replicate][method] = (10 + task) * speed
        heapq.heappush(free, (now + (10 + task) * speed, vm))
    pairs = seconds.values()
    return [(one["a"] - one["b"]) / mean(one.values()) for one in pairs]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--vms", type=int, default=4)
    parser.add_argument("--slow", type=float, default=1.5, help="how much longer the slow VM takes")
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Postgres(Path(scratch), CACHE) as postgres:
        database = psycopg2.connect(postgres.uri())
        with database.cursor() as cursor:
            cursor.execute(TABLES)
            spreads = {
                order: stdev(
                    difference
                    for seed in range(options.repeats)
                    for difference in run(cursor, order, seed, options)
                )
                for order in ORDERS
            }
        database.close()
    title = "Spread of the difference of two equal methods (standard deviation)"
    table = make_table(title, "trial_order", "spread", "fifo is wider by")
    for order, spread in spreads.items():
        table.add_row(order, f"{spread:.1%}", f"{spreads['fifo'] / spread:.1f} x")
    Console().print(table)


if __name__ == "__main__":
    main()
