"""Measures the time from a VM's boot to its first trial, with our startup script and a naive one.

    python -m benchmarks.boot [--repeats 1] [--without-cli]

Each VM is a process on this machine, in its own directory with empty caches. The first VM of a fleet
resolves its packages, a later one installs what the first has resolved. Packages come from the
configured index. System packages (psql, Python) are preinstalled, so apt's time is not included. The
naive script works like Powerlift's: pip, sequentially. A variant first installs the Azure CLI with
pip, since Microsoft's Debian package is not in the index; our script does not need it.

The table also shows CPU seconds, which hardly depend on the load of this machine.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.common import make_parser, make_table
from fleet.store.schema import BENCHMARK, migrate
from fleet.vm.render import Startup, render
from local.demo import experiment
from local.environment import vm_environment
from local.postgres import Postgres

FIRST, LATER = "ours: the first VM", "ours: a later VM"
TIMEOUT = 900.0
"""Seconds until a VM's first trial."""

TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Variables with the CA certificates for the index."""

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
    """The measurements of one VM."""

    seconds: float
    """From the boot to the first trial."""
    cpu: float
    """CPU seconds, including that trial, which is negligible."""


def main() -> None:
    options = _options()
    console = Console()
    console.print(table(measure_all(console, options.repeats, with_cli=not options.without_cli)))


def measure_all(console: Console, repeats: int, *, with_cli: bool) -> dict[str, list[Boot]]:
    """Boot a VM with each startup script, in turn."""
    scripts = {FIRST: "", LATER: "", "naive: pip": NAIVE.replace("CLI", "")}
    if with_cli:
        scripts["naive: the CLI first, then pip"] = NAIVE.replace("CLI", CLI)
    boots: dict[str, list[Boot]] = {way: [] for way in scripts}
    with tempfile.TemporaryDirectory() as state, Postgres(Path(state) / "postgres") as postgres:
        migrate(postgres.uri(), BENCHMARK)
        for repeat in range(repeats):
            for way, script in scripts.items():
                console.print(f"{way} … ", end="", highlight=False)
                with tempfile.TemporaryDirectory(dir=state) as directory:
                    name = f"{way} {repeat}"
                    boot = measure(postgres, Path(directory), name, script, f"fleet {repeat}")
                console.print(f"{boot.seconds:.1f} s", highlight=False)
                boots[way].append(boot)
    return boots


def measure(postgres: Postgres, directory: Path, name: str, script: str, fleet: str) -> Boot:
    """Boot one VM, and wait for its first trial. `script` is bash, or empty for our startup script.

    The first of our VMs of a `fleet` makes its lock of packages.
    """
    uri = postgres.uri()
    number = experiment.create(experiment.open_store(uri), trials=1, name=name)
    text = script or render(_startup(uri, number, fleet))
    variables = {"DB_URL": uri, "EXPERIMENT_ID": str(number), "RUNNER_ID": "1", "TIMEOUT": "600"}
    environment = _environment(directory, postgres) | (variables if script else {})
    started, used = time.time(), _cpu()
    with _vm(text, directory, environment) as process:
        while (trial_start := _trial_start(uri, number)) is None:
            if process.poll() is not None and _trial_start(uri, number) is None:
                raise RuntimeError(f"{name} has exited:\n{(directory / 'log').read_text()[-2000:]}")
            if time.time() - started > TIMEOUT:
                raise TimeoutError(f"{name}: no trial in {TIMEOUT:g} s")
            time.sleep(0.2)
    return Boot(trial_start - started, _cpu() - used)


def _cpu() -> float:
    """CPU seconds of our child processes that have exited."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _trial_start(uri: str, number: int) -> float | None:
    """The start of the experiment's trial, or None until the trial has ended. startup.sh claims the
    trial before the script starts it; only the script's start time counts."""
    with closing(psycopg2.connect(uri)) as database, database.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM start_time::timestamptz) FROM trial"
            " WHERE experiment_id = %s AND end_time IS NOT NULL",
            (number,),
        )
        row = cursor.fetchone()
    return float(row[0]) if row else None


@contextmanager
def _vm(
    script: str, directory: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the script as a process; terminate its process group on exit."""
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
        **vm_environment(directory / "cache", directory / "netrc"),
        "PATH": ":".join(map(str, path)),
        "HOME": str(directory),
        "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9",  # nothing listens: no events
    }


def _startup(uri: str, number: int, fleet: str) -> Startup:
    return Startup(
        experiment_id=number, runner_id=1, uri=uri, fleet_size=1, timeout=600.0,
        delete_on_complete=False,
        subscription_id="none", resource_group="none", vm_name="boot", lock_key=fleet,
        resource_manager_endpoint="http://127.0.0.1:9",
    )  # fmt: skip


def table(boots: Mapping[str, list[Boot]]) -> Table:
    """Medians from boot to first trial, absolute and relative to our first VM."""
    columns = ("seconds", "times ours", "CPU seconds", "times ours")
    result = make_table("From boot to first trial", "startup script", *columns)
    found = {
        way: [median(values) for values in zip(*some, strict=True)] for way, some in boots.items()
    }
    for way, took in found.items():
        pairs = zip(took, found[FIRST], strict=True)
        result.add_row(
            way, *(cell for one, ours in pairs for cell in (f"{one:.1f}", f"{one / ours:.1f}"))
        )
    return result


def _options() -> Any:
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=1, help="VMs per script; medians are shown")
    parser.add_argument(
        "--without-cli", action="store_true", help="skip the script that installs the CLI"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
