"""A run in bad weather."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.local.demo.test_run import command

PLAN = {
    "faults": [
        # Twice: the client's HTTP library sends a request again by itself, once.
        {"on": "vm.put", "match": "-0000$", "nth": [1, 2], "lost": True},
        {"on": "read", "slow": 2},
    ]
}


@pytest.mark.long
def test_a_run_survives_a_lost_answer_and_slow_ones(tmp_path: Path) -> None:
    plan, state = tmp_path / "plan.json", tmp_path / "state"
    plan.write_text(json.dumps(PLAN))
    options = ["--vms", "2", "--trials", "4", "--keep", "--faults", str(plan)]

    done = subprocess.run(command(state, *options), capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stdout + done.stderr
    log = next(state.glob("run-*/azure/wire.jsonl")).read_text()
    assert log.count('"lost": true') == 2


def test_a_plan_that_is_not_right_is_told_before_anything_starts(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"storms": []}')

    refused = subprocess.run(
        command(tmp_path / "state", "--faults", str(plan)),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert (refused.returncode, "storms: Extra inputs" in refused.stderr) == (1, True)
    assert "Stack is up" not in refused.stdout
