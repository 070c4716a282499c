"""The stack with weather."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.azure.weather.document import PlanRefused
from local.stack import Stack
from tests.local.azure.driver import Driver

NO_TOKENS = {"faults": [{"on": "token", "error": "ServiceUnavailable"}]}


@pytest.mark.long  # that a stack carries its plan out, other tests show by what they ask for
def test_the_plan_is_carried_out_by_the_stack_it_was_given_to(tmp_path: Path) -> None:
    statuses = []
    for faults in (NO_TOKENS, None):
        with Stack(tmp_path, time_scale=0.01, machines="none", faults=faults) as stack:
            driver = Driver(stack.arm, tmp_path / "azure")
            statuses.append(driver.ask_token().status_code)

    assert statuses == [503, 200]


@pytest.mark.parametrize("in_a_file", [False, True])
def test_a_plan_that_is_not_right_is_refused(tmp_path: Path, in_a_file: bool) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"storms": []}))

    with pytest.raises(PlanRefused, match="storms: Extra inputs"):
        Stack(tmp_path / "state", faults=file if in_a_file else {"storms": []})
