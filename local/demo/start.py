"""`make start`: runs the stack until it is interrupted, and prints how to use it."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from powerlift_fleet.benchmark.results import experiment_id

from local import kept_state
from local.demo import experiment
from local.demo.processes import kill_leftover_processes
from local.process import ServiceError, announce, recall
from local.stack import REPOSITORY, Stack

_READY = "stack.json"

_INSTRUCTIONS = """\
The stack is running. Databases, keys and logs are in {state}; scripts can read {ready}.

  app           {stack.url}
  function key  {stack.key}
  database      {stack.db_uri}
  queue         powerlift-fleets at
                {queue}
  Azure         {arm[arm]}  (CA bundle: {ca})

Copy these into another terminal:

  cd {root}

  # For the commands below, and for your own code.
  export FLEET_URL={stack.url} FLEET_KEY={stack.key}
  export POWERLIFT_DB_URI={stack.db_uri}

  # A benchmark in Python, from trials to a table of results.
  {python} examples/benchmark.py

  # Command line: create an experiment of 8 trials, run it on a fleet of two VMs, and wait.
  EXPERIMENT=$({python} -m local.demo experiment --trials 8)
  {bin}/powerlift-fleet submit --experiment $EXPERIMENT -n 2 --timeout 300 --wait

  # All fleets in a browser.
  xdg-open '{stack.url}/api/view#key={stack.key}'

  # HTTP: check the plan of a fleet, submit it, and list all fleets.
  EXPERIMENT=$({python} -m local.demo experiment --trials 8)
  REQUEST="{{\\"experiment_id\\": $EXPERIMENT, \\"n_instances\\": 2, \\"timeout\\": 300}}"
  curl -s -H "x-functions-key: $FLEET_KEY" -d "$REQUEST" "$FLEET_URL/api/plan" -w '\\n'
  curl -s -H "x-functions-key: $FLEET_KEY" -d "$REQUEST" "$FLEET_URL/api/fleets" -w '\\n'
  curl -s -H "x-functions-key: $FLEET_KEY" "$FLEET_URL/api/fleets" -w '\\n'

  # The storage queue, with a URL that may only add messages.
  (umask 077 && FLEET_QUEUE_CONNECTION='{queue}' \\
     {python} -m local.queues --sas > {state}/queue.url)
  {bin}/powerlift-fleet submit --queue-file {state}/queue.url --experiment $EXPERIMENT -n 2

  # The Azure CLI, with a separate configuration.
  export AZURE_CONFIG_DIR={state}/az REQUESTS_CA_BUNDLE={ca} AZURE_CORE_INSTANCE_DISCOVERY=false
  az cloud register -n Simulated --endpoint-resource-manager {arm[arm]} && az cloud set -n Simulated
  az login --service-principal -u {arm[client_id]} -p {arm[client_secret]} --tenant {arm[tenant_id]}
  az vm list -g {arm[resource_group]} -o table

Press Ctrl-C to stop. The next start has the same keys, experiments and fleets.
"""
_MOVED = """\
A port of the last start is in use by another program. Addresses have changed: export them again."""


class NotRunning(RuntimeError):
    """No stack is running."""


def start(
    state_dir: Path, time_scale: float, seed: int, faults: Path | None, *, fresh: bool = False
) -> None:
    """Run the stack until a signal arrives, with the state of the last start unless `fresh`.

    Fleets that were running continue: their VMs no longer exist, and are replaced. Raises
    ServiceError if the stack does not start, if another one uses the state, or if this build cannot.
    """
    with _exclusive(state_dir):
        try:
            kept = kept_state.prepare(state_dir, seed, fresh=fresh)
        except OSError as error:
            raise ServiceError(f"the state in {state_dir} cannot be used: {error}") from None
        try:
            _run(Stack(
                state_dir, time_scale=time_scale, seed=seed, faults=faults, app_settings=_settings()
            ))  # fmt: skip
        except (OSError, ServiceError) as error:
            hint = f"\n{state_dir} has the state of an earlier start. {kept_state.ANEW}"
            raise ServiceError(f"{error}{hint if kept else ''}") from None
        finally:
            (state_dir / _READY).unlink(missing_ok=True)
            for process in kill_leftover_processes():
                print(f"Killed leftover process {process}.", file=sys.stderr, flush=True)


def _run(stack: Stack) -> None:
    with stack:
        store = experiment.open_store(stack.db_uri)
        if experiment_id(store, experiment.NAME) is None:
            experiment.create(store)
        has_moved = kept_state.keep(stack)
        ready = stack.state_dir / _READY
        announce(ready, _connection_info(stack))
        print(_instructions(stack, ready), flush=True)
        if has_moved:
            print(_MOVED, flush=True)
        while True:
            signal.pause()


def add_experiment(state_dir: Path, trials: int) -> int:
    """Add an experiment to the database of the running stack. Raises NotRunning."""
    info = recall(state_dir / _READY)
    if not info or not _is_locked(state_dir):  # the file of a killed stack remains
        raise NotRunning("no stack is running; run `make start` in another terminal")
    store = experiment.open_store(info["db_uri"])
    return experiment.create(store, trials, name=f"demo-{token_hex(4)}")


_PASSED_ON = (
    "FLEET_PRICES", "FLEET_ALLOWED_", "FLEET_MAX_", "FLEET_BUDGET", "FLEET_PROTECTED_", "FLEET_WEBHOOK_",
)  # fmt: skip
"""Beginnings of the settings that the stack takes from the caller's environment."""


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}


def _connection_info(stack: Stack) -> dict[str, Any]:
    return {
        "url": stack.url,
        "key": stack.key,
        "db_uri": stack.db_uri,
        "queue_connection_string": stack.queue_connection_string,
        "psql_bin": str(stack.psql_bin),
        "arm": stack.arm,
    }


def _instructions(stack: Stack, ready: Path) -> str:
    python = Path(sys.executable)
    return _INSTRUCTIONS.format(
        stack=stack,
        state=stack.state_dir,
        queue=stack.queue_connection_string,
        arm=stack.arm,
        ca=stack.arm["ca_bundle"],
        ready=ready,
        root=REPOSITORY,
        python=python,
        bin=python.parent,
    )


def _is_locked(state_dir: Path) -> bool:
    try:
        with _exclusive(state_dir):
            return False
    except ServiceError:
        return True


@contextmanager
def _exclusive(state_dir: Path) -> Iterator[None]:
    state_dir.parent.mkdir(parents=True, exist_ok=True)
    with state_dir.with_suffix(".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            url = recall(state_dir / _READY).get("url", "starting")
            raise ServiceError(
                f"another stack is using {state_dir} (process {lock.read()}, {url}). Use that one, stop "
                "it with Ctrl-C, or start another one: make start ARGS='--state DIRECTORY'"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
