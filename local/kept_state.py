"""The state that `make start` keeps for the next one: databases, keys, queues, ports and networks."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from local.postgres import wheel_binaries
from local.postgres_data import DATA, DataHome, scratch_of
from local.process import ServiceError, announce, recall
from local.stack import Stack

ANEW = "`make start FRESH=1` deletes it and starts anew."
FORMAT = 1
"""Increase it when this build cannot use the state of earlier ones."""
_RECORD = "made-by.json"
"""Written at the end of each start: without it, the first start was interrupted, or the state is of a
build that kept none."""
_LOGS = ("azure/wire.jsonl", "azure/consoles", "azurite/azurite.log", "postgres/postgres.log")
"""Those outside `logs`."""
_STATE_OPTIONS = ("--state", "--location", "-D")
"""With which the parts of a stack get their directories."""


def prepare(state_dir: Path, seed: int, *, fresh: bool) -> bool:
    """Make the directory ready for a start. Returns whether it contains the state of an earlier one.

    Deletes an incomplete state and, if `fresh`, any. Waits for the processes of a start that was killed.
    Raises ServiceError if the state was made with another seed, or by an incompatible build.
    """
    state_dir = state_dir.resolve()
    database = state_dir / "postgres"
    scratch = scratch_of(database)
    _await_processes([state_dir, *([scratch] if scratch else [])])
    DataHome(database).close()
    record = recall(state_dir / _RECORD)
    if record and (database / DATA).exists() and not fresh:
        _check(state_dir, record.get("versions"), seed)
        _drop_logs(state_dir)
        return True
    if record and not fresh:
        print("The database of earlier starts no longer exists. Starting anew.", flush=True)
    if state_dir.exists():
        shutil.rmtree(state_dir)
    return False


def keep(stack: Stack) -> bool:
    """Complete the record of the state. Returns whether an address has changed since the last start."""
    record = stack.state_dir / _RECORD
    addresses = [stack.url, stack.db_uri.rpartition("@")[2]]
    before = recall(record).get("addresses", addresses)
    announce(record, {"versions": _versions(stack.seed), "addresses": addresses})
    return bool(before != addresses)


def _versions(seed: int) -> dict[str, object]:
    return {"format": FORMAT, "postgres": wheel_binaries().parent.name, "seed": seed}


def _check(state_dir: Path, made_by: object, seed: int) -> None:
    ours = _versions(seed)
    if made_by == ours:
        return
    how = "by an incompatible version"
    if isinstance(made_by, Mapping) and {**made_by, "seed": seed} == ours:
        how = f"with SEED={made_by['seed']}, which its subscription depends on"
    raise ServiceError(f"the state in {state_dir} was made {how}; nothing was changed. {ANEW}")


def _drop_logs(state_dir: Path) -> None:
    """Keep the logs of the last start only."""
    previous = state_dir / "logs.previous"
    shutil.rmtree(previous, ignore_errors=True)
    if (state_dir / "logs").exists():
        (state_dir / "logs").rename(previous)
    for name in _LOGS:
        found = state_dir / name
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)


def _await_processes(directories: Sequence[Path], timeout: float = 20.0) -> None:
    """Wait until no part of a stack uses the directories; kill those that do after `timeout` seconds.

    After a `kill -9` of the stack, its parts end by themselves, within seconds.
    """
    found = [
        process
        for process in psutil.process_iter(["cmdline"])
        if _uses(process.info["cmdline"] or [], directories)
    ]
    _, living = psutil.wait_procs(found, timeout=timeout)
    for process in living:
        process.kill()
    psutil.wait_procs(living, timeout=timeout)


def _uses(arguments: Sequence[str], directories: Sequence[Path]) -> bool:
    return any(
        option in _STATE_OPTIONS and any(Path(value).is_relative_to(one) for one in directories)
        for option, value in pairwise(arguments)
    )
