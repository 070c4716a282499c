"""A run with injected faults."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.local.demo.test_run import command

PLAN = {
    "faults": [
        # Twice, since the client's HTTP library retries once by itself.
        {"on": "vm.put", "match": "-0000$", "nth": [1, 2], "lost": True},
        {"on": "read", "slow": 2},
    ]
}


@pytest.mark.long
def test_a_run_survives_lost_and_slow_responses(tmp_path: Path) -> None:
    plan, state = tmp_path / "plan.json", tmp_path / "state"
    plan.write_text(json.dumps(PLAN))
    options = ["--vms", "2", "--trials", "4", "--keep", "--faults", str(plan)]

    done = subprocess.run(command(state, *options), capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stdout + done.stderr
    log = next(state.glob("run-*/azure/wire.jsonl")).read_text()
    assert log.count('"lost": true') == 2


@pytest.mark.long
def test_an_invalid_plan_is_rejected_before_anything_starts(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"unknown": []}')

    rejected = subprocess.run(
        command(tmp_path / "state", "--faults", str(plan)),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (rejected.returncode, "unknown: Extra inputs" in rejected.stderr) == (1, True)
    assert "Stack is up" not in rejected.stdout
