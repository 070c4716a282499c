"""A run with injected faults."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from local.stack import REPOSITORY
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
def test_the_first_plan_of_the_page_shows_what_the_page_says(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "fault-injection.md").read_text()
    plan = tmp_path / "plan.json"
    plan.write_text(page.partition("```json\n")[2].partition("```")[0])

    done = subprocess.run(
        command(tmp_path / "state", "--faults", str(plan)),
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip

    output = done.stdout + done.stderr
    assert (done.returncode, "Trials complete: 24/24" in output) == (0, True), output
    shown = (
        "quota: 3 of 4 VMs fit",
        "1 VM missing: RegionalQuotaExceeded",
        "OSProvisioningTimedOut",
    )
    assert [text for text in shown if text not in output] == []


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--faults", "absent.json", "The fault plan absent.json cannot be read"),
        ("--faults", "plan.json", "unknown: Extra inputs"),
        ("--vms", "x", "'x' is not a whole number of 1 or more"),
        ("--time-scale", "x", "'x' is not a number above 0"),
    ],
)
def test_an_invalid_option_is_rejected_before_anything_starts(
    tmp_path: Path, option: str, value: str, reason: str
) -> None:
    (tmp_path / "plan.json").write_text('{"unknown": []}')

    rejected = subprocess.run(
        command(tmp_path / "state", option, value),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (rejected.returncode, reason in rejected.stderr) == (2, True), rejected
    assert (rejected.stdout, (tmp_path / "state").exists()) == ("", False)
