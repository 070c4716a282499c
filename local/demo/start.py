"""`make start`: the stack for as long as one wants it, and what one needs to talk to it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from local.demo import experiment
from local.demo.processes import leftovers
from local.process import ServiceError, announce
from local.stack import REPOSITORY, Stack

_READY = "stack.json"

_TOUR = """\
The stack is up. Databases, keys and logs are in {state}; for scripts, all of this is in {ready}.

  app           {url}
  function key  {key}
  database      {db_uri}
  queue         powerlift-fleets at
                {queue}
  Azure         {arm}  (trust {ca})

Ready to copy, in another terminal:

  cd {root}

  # For all that follows, and for your own code.
  export FLEET_URL={url} FLEET_KEY={key}
  export POWERLIFT_DB_URI={db_uri}

  # A benchmark in Python, from its trials to a table of results.
  {python} examples/benchmark.py

  # From the command line: an experiment of 8 trials, and a fleet of two VMs, watched to its end.
  EXPERIMENT=$({python} -m local.demo experiment --trials 8)
  {bin}/powerlift-fleet submit --experiment $EXPERIMENT -n 2 --timeout 300 --wait

  # All fleets in a browser.
  xdg-open '{url}/api/view#key={key}'

  # By plain HTTP: would it work? A fleet asked for, then all of them.
  EXPERIMENT=$({python} -m local.demo experiment --trials 8)
  REQUEST="{{\\"experiment_id\\": $EXPERIMENT, \\"n_instances\\": 2, \\"timeout\\": 300}}"
  curl -s -H "x-functions-key: $FLEET_KEY" -d "$REQUEST" "$FLEET_URL/api/plan" -w '\\n'
  curl -s -H "x-functions-key: $FLEET_KEY" -d "$REQUEST" "$FLEET_URL/api/fleets" -w '\\n'
  curl -s -H "x-functions-key: $FLEET_KEY" "$FLEET_URL/api/fleets" -w '\\n'

  # The Azure CLI, with a configuration of its own.
  export AZURE_CONFIG_DIR={state}/az REQUESTS_CA_BUNDLE={ca} AZURE_CORE_INSTANCE_DISCOVERY=false
  az cloud register -n Simulated --endpoint-resource-manager {arm} && az cloud set -n Simulated
  az login --service-principal -u {client_id} -p {client_secret} --tenant {tenant_id}
  az vm list -g {resource_group} -o table

Ctrl-C ends it.
"""


class NotRunning(RuntimeError):
    """There is no stack that `make start` keeps up."""


def start(state_dir: Path, time_scale: float, seed: int, faults: Path | None) -> None:
    """Keep the stack up until a signal ends this program.

    It begins empty each time, since the Azure simulator keeps nothing: a fleet of the last time
    would find none of its VMs. The logs stay until the next start. Raises ServiceError when it does
    not start, or another one runs on the same state.
    """
    ready = state_dir / _READY
    with _alone(state_dir):
        shutil.rmtree(state_dir, ignore_errors=True)
        try:
            with Stack(
                state_dir, time_scale=time_scale, seed=seed, faults=faults, app_settings=_prices()
            ) as stack:
                experiment.add_tasks(experiment.open_store(stack.db_uri))
                announce(ready, _facts(stack))
                print(_tour(stack, ready), flush=True)
                while True:
                    signal.pause()
        finally:
            ready.unlink(missing_ok=True)
            for process in leftovers():
                print(f"{process} was left, and was ended.", file=sys.stderr, flush=True)


def add_experiment(state_dir: Path, trials: int) -> int:
    """Put another experiment into the database of the stack that runs. Raises NotRunning."""
    try:
        facts = json.loads((state_dir / _READY).read_text())
    except FileNotFoundError:
        raise NotRunning("no stack runs here: call `make start` in another terminal") from None
    store = experiment.open_store(facts["db_uri"])
    return experiment.create(store, trials, name=f"demo-{token_hex(4)}")


def _prices() -> dict[str, str]:
    """The caller's FLEET_PRICES. No other setting of the app passes: the stack's are its own."""
    return {name: value for name, value in os.environ.items() if name == "FLEET_PRICES"}


def _facts(stack: Stack) -> dict[str, Any]:
    return {
        "url": stack.url,
        "key": stack.key,
        "db_uri": stack.db_uri,
        "queue_connection_string": stack.queue_connection_string,
        "psql_bin": str(stack.psql_bin),
        "arm": stack.arm,
    }


def _tour(stack: Stack, ready: Path) -> str:
    arm = stack.arm
    return _TOUR.format(
        state=stack.state_dir,
        ready=ready,
        url=stack.url,
        key=stack.key,
        db_uri=stack.db_uri,
        queue=stack.queue_connection_string,
        arm=arm["arm"],
        ca=arm["ca_bundle"],
        root=REPOSITORY,
        python=sys.executable,
        bin=Path(sys.executable).parent,
        client_id=arm["client_id"],
        client_secret=arm["client_secret"],
        tenant_id=arm["tenant_id"],
        resource_group=arm["resource_group"],
    )


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    state_dir.parent.mkdir(parents=True, exist_ok=True)
    with state_dir.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServiceError(f"another stack runs on {state_dir}; end it first") from None
        yield
