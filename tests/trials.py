"""Experiments that VMs run, with packages from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest

from local.environment import vm_environment
from local.stack import CACHE, REPOSITORY, Stack
from tests.harness import experiment, sql

RUNNER = (REPOSITORY / "client" / "powerlift_fleet" / "runner.py").read_text(encoding="utf-8")
"""The runner that users have: it starts in seconds, for pandas and SQLAlchemy are compiled anew."""

SMALL_RUNNER = '''
"""Takes trials as Powerlift does, once it may, and measures a constant; starts in no time."""

import os
import time

import psycopg2

mine = {"experiment": os.environ["EXPERIMENT_ID"], "runner": os.environ["RUNNER_ID"]}
database = psycopg2.connect(os.environ["DB_URL"].replace("+psycopg2", ""))
database.autocommit = True
cursor = database.cursor()
cursor.execute("SELECT pg_advisory_lock_shared(%(experiment)s)", mine)
while True:
    cursor.execute(
        """UPDATE trial SET runner_id = %(runner)s, start_time = CURRENT_TIMESTAMP
        WHERE id = (SELECT id FROM trial WHERE experiment_id = %(experiment)s
                      AND runner_id IN (%(runner)s, -1)
                    ORDER BY runner_id DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id""",
        mine,
    )
    trial = cursor.fetchone()
    if trial is None:
        break
    print("measures trial", trial[0], flush=True)
    cursor.execute(
        "INSERT INTO measure_outcome (trial_id, name, type, seq_num, val)"
        " VALUES (%s, 'score', 0, 0, '1')",
        trial,
    )
    time.sleep(0.5)
    cursor.execute(
        "UPDATE trial SET end_time = CURRENT_TIMESTAMP, runner_id = -2 WHERE id = %s", trial
    )
'''

_PACKAGES = ("powerlift", "setuptools<82", "psycopg2-binary", "psycopg[binary]")
"""What startup.sh installs."""


def real_experiment(stack: Stack, trials: int, runner: str, trial_fn: str = "") -> int:
    """An experiment whose open trials `runner` claims; returns its id."""
    number = experiment(stack, trials)
    sql(
        stack,
        "UPDATE experiment SET script = %s, trial_fn = %s WHERE id = %s",
        runner,
        trial_fn,
        number,
    )
    return number


@contextmanager
def trials_held(stack: Stack, number: int) -> Iterator[None]:
    """Make the experiment's runners wait, so that no VM completes early."""
    database = psycopg2.connect(stack.db_uri)
    try:
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (number,))
        yield
    finally:
        database.close()


@contextmanager
def packages_at_hand(scratch: Path, *wanted: str) -> Iterator[None]:
    """Put all that a VM installs, and `wanted`, into uv's cache; the VMs of stacks made
    meanwhile ask no index.

    Else a test's time is that of ten VMs asking an index whether its pages are still the same, and
    building anew what has no wheel.
    """
    environment = {**os.environ, **vm_environment(CACHE, scratch / "netrc")}
    environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as startup.sh: part of the cache's key
    uv = str(Path(sys.executable).with_name("uv"))
    install = [uv, "pip", "install", "--quiet", "--python", sys.executable]
    install += ["--target", str(scratch / "packages"), *_PACKAGES, *wanted]
    cached = subprocess.run([*install, "--offline"], env=environment, capture_output=True)
    if cached.returncode != 0:
        subprocess.run(install, env=environment, check=True, timeout=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_OFFLINE", "1")
        patch.delenv(
            "PYTHONDONTWRITEBYTECODE", raising=False
        )  # otherwise each restart would compile again
        yield
