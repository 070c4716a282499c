"""Counts what a fleet sends to Application Insights, on the stand-in of the Functions host.

    python -m benchmarks.telemetry [--size 1000] [--max-undead 50] [--time-scale 0.25] [--polls 10]

An invocation of a function, each episode of an orchestrator included, is a `requests` row. With the log
levels that host.json sets, `traces` are the app's own lines, and the host's warnings and errors.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter

from rich.console import Console

from benchmarks.common import make_parser, make_table, new_stack
from benchmarks.fleet_run import has_ended, is_provisioned, until
from local.demo import experiment, fleets
from local.stack import Stack

ORCHESTRATORS = ("run_fleet", "create_wave", "teardown_fleet", "mark_cancelled")
POLLING = ("get_fleet", "submit_fleet", "cancel_fleet")
"""This benchmark's own requests."""
_INVOKED = re.compile(r"Executed '(\w+)'")
_LOGGED = re.compile(r" Function\.\w+\.User: ")


def main() -> None:
    options = _options()
    with new_stack(time_scale=options.time_scale) as stack:
        counts = measure(stack, options.size, options.max_undead, options.polls)
    title = f"Telemetry of {options.size} VMs, in rows before sampling"
    table = make_table(title, "", "requests: activities", "requests: orchestrators", "traces")
    for name, found in counts.items():
        numbers = (found["activities"], found["orchestrators"], found["traces"])
        table.add_row(name, *(f"{number:,}" for number in numbers))
    Console(width=100).print(table)


def measure(stack: Stack, size: int, max_undead: int, polls: int) -> dict[str, Counter[str]]:
    """The rows of a fleet from its start until all VMs run, of some polls, and of its teardown."""
    number = experiment.create(experiment.open_store(stack.db_uri), trials=size)
    request = {"experiment_id": number, "n_instances": size, "max_undead": max_undead}
    fleet_id = fleets.post(stack.url, stack.key, {**request, "batch_id": 1})
    until(stack, fleet_id, is_provisioned)
    provisioned = rows(stack)
    time.sleep(polls * max(1.0, 30 * stack.time_scale))
    watched = rows(stack)
    fleets.cancel(stack.url, stack.key, fleet_id)
    until(stack, fleet_id, has_ended)
    return {
        "until all VMs run": provisioned,
        f"{polls} polls": watched - provisioned,
        "teardown": rows(stack) - watched,
    }


def rows(stack: Stack) -> Counter[str]:
    log = (stack.logs / "host.log").read_text()
    found = Counter(traces=len(_LOGGED.findall(log)))
    for name in _INVOKED.findall(log):
        if name not in POLLING:
            found["orchestrators" if name in ORCHESTRATORS else "activities"] += 1
    return found


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--max-undead", type=int, default=50)
    parser.add_argument("--time-scale", type=float, default=0.25)
    parser.add_argument("--polls", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
