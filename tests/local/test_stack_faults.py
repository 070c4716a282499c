"""The stack with a fault plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.azure.faults.plan import InvalidPlan
from local.stack import Stack
from tests.local.azure.driver import Driver

NO_TOKENS = {"faults": [{"on": "token", "error": "ServiceUnavailable"}]}


@pytest.mark.long  # other tests rely on the plan of their stack
def test_a_plan_applies_only_to_its_stack(tmp_path: Path) -> None:
    statuses = []
    for faults in (NO_TOKENS, None):
        with Stack(tmp_path, time_scale=0.01, machines="none", faults=faults) as stack:
            driver = Driver(stack.arm, tmp_path / "azure")
            statuses.append(driver.ask_token().status_code)

    assert statuses == [503, 200]


@pytest.mark.parametrize("in_a_file", [False, True])
def test_an_invalid_plan_is_rejected(tmp_path: Path, in_a_file: bool) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"unknown": []}))

    with pytest.raises(InvalidPlan, match="unknown: Extra inputs"):
        Stack(tmp_path / "state", faults=file if in_a_file else {"unknown": []})
