"""How long from a VM's first boot to its first trial: our startup script beside a naive one.

    python -m benchmarks.boot [--repeats 1] [--without-cli]

Each VM is a process of this machine, in a directory of its own with nothing cached; packages come
from the index that the environment is configured for. The system's packages (psql, Python) are there
for all of them, so apt's time is no part of it. The naive script does as Powerlift's: pip, one thing
after the other. With the Azure CLI first it also installs the CLI before anything else, by pip from
the same index, since Microsoft's Debian package is not in it; ours needs none.

Beside the seconds stand those of a processor that were used: they hardly depend on what else this
machine does.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg2
from rich.console import Console
from rich.table import Table

from fleet.vm.render import Startup, render
from local.demo import experiment
from local.environment import machine_environment
from local.postgres import Postgres

PATIENCE = 900.0
"""Seconds that one VM may take to its first trial."""

TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Variables that name the certificates of the way to the index."""

NAIVE = """
set -u
python3 -m venv venv
CLI
venv/bin/pip install --quiet psycopg2-binary 'psycopg[binary]' 'setuptools<82' powerlift
venv/bin/pip install --quiet scikit-learn
psql "$DB_URL" -XqtAc "SELECT script FROM experiment WHERE id = $EXPERIMENT_ID" >startup.py
DB_URL=${DB_URL/:/+psycopg2:} exec venv/bin/python startup.py
"""
CLI = "python3 -m venv cli && cli/bin/pip install --quiet azure-cli"


class Boot(NamedTuple):
    """What one VM took."""

    seconds: float
    """From its boot until its first trial."""
    cpu: float
    """Seconds of a processor, that trial included: it takes none worth the name."""


def main() -> None:
    options = _options()
    ways = {"ours": "", "naive: pip": NAIVE.replace("CLI", "")}
    if not options.without_cli:
        ways["naive: the CLI first, then pip"] = NAIVE.replace("CLI", CLI)
    console = Console()
    boots: dict[str, list[Boot]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as state, Postgres(Path(state) / "postgres") as postgres:
        for turn in range(options.repeats):
            for way, script in ways.items():
                console.print(f"{way} … ", end="", highlight=False)
                with tempfile.TemporaryDirectory(dir=state) as directory:
                    name = f"{way} {turn}"
                    boot = measure(postgres, Path(directory), name, script)
                console.print(f"{boot.seconds:.1f} s", highlight=False)
                boots[way].append(boot)
    console.print(table(boots))


def measure(postgres: Postgres, directory: Path, name: str, script: str) -> Boot:
    """Boot one VM, until its first trial was taken by the script's Python.

    `script` is bash, or empty for ours.
    """
    uri = postgres.uri()
    number = experiment.create(experiment.open_store(uri), trials=1, name=name)
    text = script or render(_startup(uri, number))
    contract = {"DB_URL": uri, "EXPERIMENT_ID": str(number), "RUNNER_ID": "1", "TIMEOUT": "600"}
    environment = _environment(directory, postgres) | (contract if script else {})
    started, used = time.time(), _cpu()
    with _machine(text, directory, environment) as process:
        while (ended := _ended(uri, number)) is None:
            if process.poll() is not None and _ended(uri, number) is None:
                raise RuntimeError(f"{name} has ended:\n{(directory / 'log').read_text()[-2000:]}")
            if time.time() - started > PATIENCE:
                raise TimeoutError(f"{name}: no trial in {PATIENCE:g} s")
            time.sleep(0.2)
    return Boot(ended - started, _cpu() - used)


def _cpu() -> float:
    """Seconds of a processor that our children have used, those of them that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _ended(uri: str, number: int) -> float | None:
    """When the experiment's trial had begun, once it has ended: startup.sh assigns it to itself a
    little before the script begins it, and only the script's own time is of interest."""
    database = psycopg2.connect(uri)
    try:
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT extract(epoch FROM start_time::timestamptz) FROM trial"
                " WHERE experiment_id = %s AND end_time IS NOT NULL",
                (number,),
            )
            row = cursor.fetchone()
    finally:
        database.close()
    return float(row[0]) if row else None


@contextmanager
def _machine(
    script: str, directory: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs the script; ended, with its group, on leaving."""
    (directory / "part-001").write_text(script)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "part-001"], cwd=directory, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _environment(directory: Path, postgres: Postgres) -> dict[str, str]:
    python = Path(getattr(sys, "_base_executable", sys.executable)).parent
    path = [postgres.bin, python, "/usr/bin", "/bin"]
    trust = {name: os.environ[name] for name in TRUST if name in os.environ}
    return {
        **trust,
        **machine_environment(directory / "cache", directory / "netrc"),
        "PATH": ":".join(map(str, path)),
        "HOME": str(directory),
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9",  # nobody: no metadata, no events
    }


def _startup(uri: str, number: int) -> Startup:
    return Startup(
        experiment_id=number, runner_id=1, uri=uri, timeout=600.0, delete_on_complete=False,
        subscription_id="none", resource_group="none", vm_name="boot",
        resource_manager_endpoint="http://127.0.0.1:9",
    )  # fmt: skip


def table(boots: Mapping[str, list[Boot]]) -> Table:
    """From boot to first trial: medians, and how many times ours."""
    result = Table("startup script", title="From boot to first trial")
    for column in ("seconds", "times ours", "of a processor", "times ours"):
        result.add_column(column, justify="right")
    found = {
        way: [median(values) for values in zip(*some, strict=True)] for way, some in boots.items()
    }
    for way, took in found.items():
        pairs = zip(took, found["ours"], strict=True)
        result.add_row(
            way, *(cell for one, ours in pairs for cell in (f"{one:.1f}", f"{one / ours:.1f}"))
        )
    return result


def _options() -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--repeats", type=int, default=1, help="VMs of each kind; medians are shown"
    )
    parser.add_argument("--without-cli", action="store_true", help="leave out the one with the CLI")
    return parser.parse_args()


if __name__ == "__main__":
    main()
