"""`make run`: one experiment from request to teardown, with proof that nothing is left."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from local.demo import azure_resources, experiment, failure_report, fleets, results
from local.demo.processes import leftovers
from local.demo.progress import display
from local.stack import Stack

_TICK = 0.5  # seconds between two looks at the fleet
_SILENCE = 15.0  # seconds that the app may leave us without an answer
_TERMINAL = ("done", "cancelled", "failed")
_DELETION = 30.0  # seconds for NICs and disks to follow their VMs

console = Console()


class DemoFailed(RuntimeError):
    """The demo did not show what it must show; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is asked for; see `python -m local.demo run --help`."""

    vms: int
    trials: int
    trigger: str
    time_scale: float
    seed: int
    faults: Path | None
    deadline: float
    keep: bool
    state_root: Path


def run(options: Options) -> None:
    """Run the demo. Raises DemoFailed or ServiceError; leaves no process either way.

    The state of the run is removed when all went well, else kept and named.
    """
    begin = time.monotonic()
    with _state(options) as state_dir:
        try:
            stack = Stack(
                state_dir,
                time_scale=options.time_scale,
                seed=options.seed,
                faults=options.faults,
            )
            with stack:
                _say(f"Stack is up ({time.monotonic() - begin:.1f} s): {stack.url}")
                _demonstrate(stack, options)
        finally:
            left = leftovers()
            _say(f"Processes left: {len(left)}")
        if left:
            raise DemoFailed(f"these processes were left, and were ended: {', '.join(left)}")
    _say(f"All is well; {time.monotonic() - begin:.1f} s in all.")


def _demonstrate(stack: Stack, options: Options) -> None:
    store = experiment.open_store(stack.db_uri)
    experiment_id = experiment.create(store, options.trials)
    _say(f"Experiment {experiment_id}: {options.trials} trials")
    before = azure_resources.census(stack.arm)
    fleet = _follow(stack, _post(stack, options, experiment_id), options.deadline)
    for line in failure_report.lines(fleet):
        _say(line)
    complete = results.trials_by_status(store)["COMPLETE"]
    if complete:
        console.print(results.table(store))
    _say(f"Trials complete: {complete}/{options.trials}")
    left = _left_in_azure(stack, before)
    _say("Left in Azure: " + ", ".join(f"{len(ids)} {kind}" for kind, ids in left.items()))

    found = faults(fleet, options.trials - complete, results.errors(store), left)
    if found:
        raise DemoFailed("; ".join(found))


def faults(
    fleet: Mapping[str, Any], incomplete: int, errors: list[str], left: Mapping[str, set[str]]
) -> list[str]:
    """Everything that is not as it must be, a sentence each."""
    found = []
    if fleet["phase"] != "done":
        causes = [f"{it['code']}: {it['message']}" for it in fleet["failures"]]
        found.append(": ".join([f"the fleet ended {fleet['phase']}", *causes]))
    if incomplete:
        found.append(": ".join([f"{incomplete} trials are not complete", *errors]))
    if any(left.values()):
        found.append(f"left in Azure: {', '.join(sorted(set().union(*left.values())))}")
    return found


def _post(stack: Stack, options: Options, experiment_id: int) -> str:
    request = {
        "experiment_id": experiment_id,
        "n_instances": options.vms,
        "timeout": 300,
        "max_undead": 20,
        "resource_uris": [],
        # The seed, so that the same run draws the same latencies: Azure's depend on names.
        "batch_id": options.seed,
    }
    try:
        if options.trigger == "queue":
            fleet_id = fleets.enqueue(stack.queue_connection_string, request)
        else:
            fleet_id = fleets.post(stack.url, stack.key, request)
    except fleets.ApiError as error:
        raise DemoFailed(str(error)) from None
    _say(f"Fleet {fleet_id}: {options.vms} VMs, asked for by {options.trigger}")
    return fleet_id


def _follow(stack: Stack, fleet_id: str, patience: float) -> dict[str, Any]:
    """Show the fleet until it has ended; returns its last status."""
    deadline = time.monotonic() + patience
    phase, heard = "not yet known to the app", time.monotonic()
    with display(console) as shown:
        while time.monotonic() < deadline:
            try:
                status = fleets.status(stack.url, stack.key, fleet_id)
                heard = time.monotonic()
            except fleets.ApiError as error:
                if error.status is not None or time.monotonic() - heard > _SILENCE:
                    raise DemoFailed(f"{error} (see {stack.logs / 'host.log'})") from None
                status = None
            if status is not None:
                phase = status["phase"]
                shown.show(status)
                if phase in _TERMINAL:
                    return status
            time.sleep(_TICK)
    raise DemoFailed(
        f"fleet {fleet_id} has not ended after {patience:.0f} s; its phase: {phase}. See the logs "
        f"in {stack.logs}, and the VMs' in {stack.state_dir / 'azure'}."
    )


def _left_in_azure(stack: Stack, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What stands in Azure that did not before; deletions under way are given time to end."""
    deadline = time.monotonic() + _DELETION
    while True:
        now = azure_resources.census(stack.arm)
        left = {kind: ids - before[kind] for kind, ids in now.items()}
        if not any(left.values()) or time.monotonic() > deadline:
            return left
        time.sleep(_TICK)


@contextmanager
def _state(options: Options) -> Iterator[Path]:
    options.state_root.mkdir(parents=True, exist_ok=True)
    state_dir = Path(tempfile.mkdtemp(prefix="run-", dir=options.state_root))  # owner only
    keep = True
    try:
        yield state_dir
        keep = options.keep
    except KeyboardInterrupt:
        keep = options.keep
        raise
    finally:
        if keep:
            _say(f"State and logs are kept in {state_dir}")
        else:
            shutil.rmtree(state_dir, ignore_errors=True)


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
