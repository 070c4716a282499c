"""`make run`: one experiment from request to teardown, with proof that nothing is left behind."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from powerlift_fleet import FleetClient, FleetError, FleetStatus, progress, submit_by_queue
from powerlift_fleet.cli import describe
from rich.console import Console

from local.demo import azure_resources, experiment, results
from local.demo.processes import kill_leftover_processes
from local.stack import Stack

_POLL_SECONDS = 0.5
_RESPONSE_TIMEOUT = 15.0  # seconds without a response from the app
_DELETION_TIMEOUT = 30.0  # seconds for the NICs and disks of deleted VMs

console = Console()


class DemoFailed(RuntimeError):
    """The demo failed. The message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run; see `python -m local.demo run --help`."""

    vms: int
    trials: int
    trigger: str
    time_scale: float
    seed: int
    faults: Path | None
    deadline: float
    keep: bool
    state: Path


def run(options: Options) -> None:
    """Run the demo. Raises DemoFailed or ServiceError. Leaves no process behind.

    The state of the run is removed if it succeeds. Otherwise it is kept, and its path is printed.
    """
    begin = time.monotonic()
    with _state(options) as state_dir:
        try:
            stack = Stack(
                state_dir, time_scale=options.time_scale, seed=options.seed, faults=options.faults
            )
            with stack:
                _print(f"Stack is up ({time.monotonic() - begin:.1f} s): {stack.url}")
                _demonstrate(stack, options)
        finally:
            leftover = kill_leftover_processes()
            _print(f"Processes left: {len(leftover)}")
        if leftover:
            raise DemoFailed(f"killed leftover processes: {', '.join(leftover)}")
    _print(f"Succeeded in {time.monotonic() - begin:.1f} s.")


def _demonstrate(stack: Stack, options: Options) -> None:
    store = experiment.open_store(stack.db_uri)
    experiment_id = experiment.create(store, options.trials)
    _print(f"Experiment {experiment_id}: {options.trials} trials")
    before = azure_resources.list_resources(stack.arm)
    try:
        with FleetClient(stack.url, stack.key, retry_timeout=_RESPONSE_TIMEOUT) as client:
            fleet_id = _submit(client, stack, options, experiment_id)
            fleet = _follow(client, stack, fleet_id, options.deadline)
    except FleetError as error:
        raise DemoFailed(f"{error} (see {stack.logs / 'host.log'})") from None
    for line in describe.missing(fleet):
        _print(line)
    complete = results.trials_by_status(store)["COMPLETE"]
    if complete:
        console.print(results.table(store))
    _print(f"Trials complete: {complete}/{options.trials}")
    left = _left_in_azure(stack, before)
    _print("Left in Azure: " + ", ".join(f"{len(ids)} {kind}" for kind, ids in left.items()))

    found = problems(fleet, options.trials - complete, results.errors(store), left)
    if found:
        raise DemoFailed("; ".join(found))


def problems(
    fleet: FleetStatus, incomplete: int, errors: list[str], left: Mapping[str, set[str]]
) -> list[str]:
    """What went wrong, one sentence per problem."""
    found = []
    if fleet.phase != "done":
        causes = [f"{one.code}: {one.message}" for one in fleet.failures]
        found.append(": ".join([f"the fleet ended in phase {fleet.phase}", *causes]))
    if incomplete:
        found.append(": ".join([f"{incomplete} trials are not complete", *errors]))
    if any(left.values()):
        found.append(f"left in Azure: {', '.join(sorted(set().union(*left.values())))}")
    return found


def _submit(client: FleetClient, stack: Stack, options: Options, experiment_id: int) -> str:
    request = {
        "experiment_id": experiment_id,
        "n_instances": options.vms,
        "timeout": 300,
        "max_undead": 20,
        "resource_uris": [],
        # Derived from the seed, since the simulator draws latencies by resource name.
        "batch_id": options.seed,
    }
    if options.trigger == "queue":
        fleet_id = submit_by_queue(stack.queue_connection_string, request).id
    else:
        fleet_id = client.submit(request).id
    _print(f"Fleet {fleet_id}: {options.vms} VMs, submitted by {options.trigger}")
    return fleet_id


def _follow(client: FleetClient, stack: Stack, fleet_id: str, timeout: float) -> FleetStatus:
    """Display the fleet until it has ended. Returns its last status."""
    deadline = time.monotonic() + timeout
    with display() as shown:
        for status in client.watch(fleet_id, _POLL_SECONDS, appears_within=timeout):
            shown.show(status)
            if status.is_terminal:
                return status
            if time.monotonic() > deadline:
                break
    raise DemoFailed(
        f"fleet {fleet_id} has not finished after {timeout:.0f} s (phase: {status.phase}). See the "
        f"logs in {stack.logs}, and the VMs' in {stack.state_dir / 'azure'}."
    )


@contextmanager
def display() -> Iterator[progress.Display]:
    """Bars on a terminal, lines elsewhere."""
    if console.is_terminal:
        with progress.bars(console) as shown:
            yield progress.Bars(shown)
    else:
        yield progress.Lines(interval=5.0, stream=sys.stdout)  # a run takes a minute


def _left_in_azure(stack: Stack, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """The resources that did not exist before. Waits for deletions in progress."""
    deadline = time.monotonic() + _DELETION_TIMEOUT
    while True:
        now = azure_resources.list_resources(stack.arm)
        left = {kind: ids - before[kind] for kind, ids in now.items()}
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_SECONDS)


@contextmanager
def _state(options: Options) -> Iterator[Path]:
    options.state.mkdir(parents=True, exist_ok=True)
    state_dir = Path(tempfile.mkdtemp(prefix="run-", dir=options.state))
    keep = True
    try:
        yield state_dir
        keep = options.keep
    except KeyboardInterrupt:
        keep = options.keep
        raise
    finally:
        if keep:
            _print(f"State and logs are kept in {state_dir}")
        else:
            shutil.rmtree(state_dir, ignore_errors=True)


def _print(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
