"""Which state of earlier starts `make start` uses, deletes or refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.kept_state import FORMAT, prepare
from local.postgres import wheel_binaries
from local.process import ServiceError

OURS = {"format": FORMAT, "postgres": wheel_binaries().parent.name, "seed": 0}
SLEEPS = "import time; time.sleep(0.5)"


def made(root: Path, versions: Any = OURS, *, data: bool = True) -> Path:
    """The state of an earlier start; with `versions` None, of an incomplete one."""
    state = root / "start"
    (state / "logs").mkdir(parents=True)
    (state / "sealing.key").write_text("secret")
    if data:
        (state / "postgres" / "data").mkdir(parents=True)
    if versions is not None:
        (state / "made-by.json").write_text(json.dumps({"versions": versions}))
    return state


def kept(state: Path, seed: int = 0, *, fresh: bool = False) -> tuple[bool, bool]:
    """Whether the state is used, and whether its key exists afterwards."""
    return prepare(state, seed, fresh=fresh), (state / "sealing.key").exists()


def test_the_state_of_the_last_start_is_used_with_new_logs(tmp_path: Path):
    state = made(tmp_path)
    (state / "logs" / "host.log").write_text("old")
    assert kept(state) == (True, True)
    assert not (state / "logs").exists()
    assert (state / "logs.previous" / "host.log").read_text() == "old"


@pytest.mark.parametrize(
    ("how", "fresh"),
    [({}, True), ({"versions": None}, False), ({"versions": {"format": 0}}, True),
     ({"data": False}, False)],
    ids=["on request", "an incomplete start", "of another version on request", "without data"],
)  # fmt: skip
def test_state_that_is_of_no_use_is_deleted(tmp_path: Path, how: dict[str, Any], fresh: bool):
    assert kept(made(tmp_path, **how), fresh=fresh) == (False, False)


@pytest.mark.parametrize(
    ("versions", "seed", "why"),
    [
        ({**OURS, "format": FORMAT + 1}, 0, "by an incompatible version"),
        ({**OURS, "postgres": "pginstall1"}, 0, "by an incompatible version"),
        (OURS, 3, "with SEED=0"),
    ],
)
def test_state_that_this_build_cannot_use_is_refused(
    tmp_path: Path, versions: Any, seed: int, why: str
):
    state = made(tmp_path, versions)
    with pytest.raises(ServiceError, match=f"{why}.*nothing was changed.*FRESH=1"):
        prepare(state, seed, fresh=False)
    assert (state / "sealing.key").exists()


def test_the_parts_of_a_killed_stack_are_awaited_and_other_programs_left_alone(tmp_path: Path):
    state = made(tmp_path)
    log = str(state / "logs" / "host.log")
    part = subprocess.Popen([sys.executable, "-c", SLEEPS, "--state", str(state / "host")])
    reader = subprocess.Popen([sys.executable, "-c", "input()", log], stdin=subprocess.PIPE)
    try:
        prepare(state, 0, fresh=False)
        assert (part.poll(), reader.poll()) == (0, None)
    finally:
        part.kill()
        reader.communicate(b"\n")
