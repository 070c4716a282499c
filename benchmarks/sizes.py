"""Measures the JSON between a fleet and Durable Functions, on the stand-in of the Functions host.

    python -m benchmarks.sizes [--sizes 4 50 200] [--at-the-limits 4 50] [--polls 3] [--json FILE]

An episode sends the worker the whole history of an instance, and gets every action since its start, each
with its input. An activity gets that input, and returns a result, which becomes part of the history. The
bytes are those of the host's log. Each fleet is cancelled after some polls.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_parser, make_table, new_stack
from benchmarks.fleet_run import has_ended, is_provisioned, until
from local.demo import experiment, fleets
from local.stack import Stack

GROUPS = "/subscriptions/*/resourceGroups/*"
SETTINGS = {"FLEET_ALLOWED_SCOPES": f"{GROUPS}/providers/Microsoft.Storage/*"}
LONGEST_SCOPE, LONGEST_KEY = 1024, 8192
"""Characters, as `fleet.api.fields.types` has them."""
_SIZES = re.compile(
    r"Sizes of '(\w+)' in [a-z]+-(\d+)(?:-\d+)?: (\d+) bytes in, (\d+) bytes out, (\d+) events"
)


@dataclass
class Sizes:
    """The activities or episodes of one function. Sizes are bytes of JSON."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    largest_in: int = 0
    largest_out: int = 0
    events: int = 0
    """Of the longest history; 0 for an activity."""

    @property
    def largest(self) -> int:
        """Bytes of the largest message, to or from the worker."""
        return max(self.largest_in, self.largest_out)

    def add(self, other: Sizes) -> None:
        self.calls += other.calls
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.largest_in = max(self.largest_in, other.largest_in)
        self.largest_out = max(self.largest_out, other.largest_out)
        self.events = max(self.events, other.events)


@dataclass(frozen=True, slots=True)
class Measured:
    """One fleet. `state`, `status` and `output`: bytes of the last input of `run_fleet`, of its custom
    status and of its output.
    """

    request: str
    vms: int
    state: int
    status: int
    output: int
    functions: Mapping[str, Sizes]


def main() -> None:
    options = _options()
    console = Console(width=110)
    with new_stack(SETTINGS, time_scale=options.time_scale) as stack:
        fleets_of = [("usual", size) for size in options.sizes]
        fleets_of += [("at the limits", size) for size in options.at_the_limits]
        measured = []
        for batch, (request, size) in enumerate(fleets_of, 1):
            console.print(f"{size} VMs, request {request} …", highlight=False)
            more = {} if request == "usual" else at_the_limits(stack)
            measured.append(measure(stack, request, size, batch, options.polls, more))
    console.print(*(table(one) for one in measured), summary(measured), sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measured], indent=1))


def at_the_limits(stack: Stack) -> dict[str, Any]:
    """The fields of the largest request that the simulated Azure accepts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=4096).public_key()
    text = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    group = f"/subscriptions/{stack.arm['subscription_id']}/resourceGroups/{stack.arm['resource_group']}"
    scope = f"{group}/providers/Microsoft.Storage/storageAccounts/"
    return {
        "resource_uris": [f"{scope}{n:02}".ljust(LONGEST_SCOPE, "s") for n in range(20)],
        "tags": {f"{n:02}".ljust(256, "k"): "v" * 256 for n in range(40)},
        "ssh_public_key": f"{text.decode()} ".ljust(LONGEST_KEY, "c"),
        "zones": ["1", "2", "3"],
        "fallbacks": [
            {"zone": str(n % 3 + 1), "vm_size": f"Standard_D{2 ** (n % 4 + 1)}s_v5"}
            for n in range(20)
        ],
    }


def measure(
    stack: Stack, request: str, size: int, batch: int, polls: int, more: Mapping[str, Any]
) -> Measured:
    """Run a fleet until all its VMs run, for some polls more, and until it is torn down."""
    store = experiment.open_store(stack.db_uri)
    number = experiment.create(store, trials=size, name=f"sizes {batch}")
    usual = {"experiment_id": number, "n_instances": size, "max_undead": 50, "batch_id": batch}
    fleet_id = fleets.post(stack.url, stack.key, {**usual, **more})
    until(stack, fleet_id, is_provisioned)
    time.sleep(polls * max(1.0, 30 * stack.time_scale))
    fleets.cancel(stack.url, stack.key, fleet_id)
    until(stack, fleet_id, has_ended)
    ended = instance(stack, fleet_id)
    state, status, output = (
        len(json.dumps(ended[part])) for part in ("input", "customStatus", "output")
    )
    log = (stack.logs / "host.log").read_text()
    return Measured(request, size, state, status, output, of_log(log, batch))


def of_log(log: str, batch: int) -> dict[str, Sizes]:
    """The sizes of a fleet in the host's log, by function."""
    found: dict[str, Sizes] = {}
    for function, fleet, *numbers in _SIZES.findall(log):
        if int(fleet) == batch:
            bytes_in, bytes_out, events = map(int, numbers)
            one = Sizes(1, bytes_in, bytes_out, bytes_in, bytes_out, events)
            found.setdefault(function, Sizes()).add(one)
    return found


def instance(stack: Stack, fleet_id: str) -> dict[str, Any]:
    """The status of a fleet's durable instance, with its input and output as JSON."""
    keys = json.loads((stack.state_dir / "host" / "keys.json").read_text())
    url = f"{stack.url}/runtime/webhooks/durabletask/instances/{fleet_id}"
    found: dict[str, Any] = requests.get(url, {"code": keys["master"]}, timeout=60).json()
    return {**found, "input": json.loads(found["input"])}


def table(measured: Measured) -> Table:
    headings = ("calls", "KB in", "largest", "KB out", "largest", "KB per VM", "events")
    title = f"{measured.vms} VMs, request {measured.request}"
    shown, total = make_table(title, "function", *headings), Sizes()
    for name, one in sorted(measured.functions.items(), key=_most_bytes_first):
        shown.add_row(name, *_row(one, measured.vms))
        total.add(one)
    shown.add_section()
    shown.add_row("all", *_row(total, measured.vms))
    return shown


def summary(measured: list[Measured]) -> Table:
    """One row for each fleet, as shown in docs/performance.md."""
    title = "JSON between a fleet and Durable Functions, in KB"
    headings = ("all, per VM", "episode", "activity", "status", "state", "state, per VM")
    shown = make_table(title, "VMs, request", *headings)
    for one in measured:
        found = list(one.functions.values())
        total = sum(each.bytes_in + each.bytes_out for each in found)
        episodes = [each.largest for each in found if each.events]
        activities = [each.largest for each in found if not each.events]
        sizes = (total / one.vms, max(episodes), max(activities), one.status, one.state)
        per_vm = f"{one.state / one.vms / 1024:.2f}"
        shown.add_row(f"{one.vms}, {one.request}", *map(_kb, sizes), per_vm)
    return shown


def _row(one: Sizes, vms: int) -> list[str]:
    per_vm = _kb((one.bytes_in + one.bytes_out) / vms)
    sizes = (one.bytes_in, one.largest_in, one.bytes_out, one.largest_out)
    return [f"{one.calls:,}", *map(_kb, sizes), per_vm, str(one.events or "")]


def _most_bytes_first(item: tuple[str, Sizes]) -> int:
    return -(item[1].bytes_in + item[1].bytes_out)


def _kb(count: float) -> str:
    return f"{count / 1024:,.1f}"


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 50, 200])
    parser.add_argument("--at-the-limits", type=int, nargs="*", default=[4, 50])
    parser.add_argument("--polls", type=int, default=3)
    parser.add_argument("--time-scale", type=float, default=0.05)
    parser.add_argument("--json", type=Path, help="a file for the numbers as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
