"""A token that Azure refuses, where no activity runs that would find out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests

from local.stack import Stack
from tests.harness import experiment, wire

REFUSED = {"on": "group.get", "error": "InvalidAuthenticationToken", "times": 1}


def tokens(stack: Stack) -> int:
    """The number of tokens that the app has requested."""
    return sum(call["path"].endswith("/oauth2/v2.0/token") for call in wire(stack))


def plan(stack: Stack, **request: Any) -> None:
    headers = {"x-functions-key": stack.key}
    url = f"{stack.url}/api/plan"
    assert requests.post(url, json=request, headers=headers, timeout=60).status_code == 200


def test_a_plan_requests_a_new_token_after_a_rejected_one(tmp_path: Path):
    with Stack(tmp_path, time_scale=0.01, machines="none", faults={"faults": [REFUSED]}) as stack:
        asked, number = [], experiment(stack)
        for _ in range(3):
            plan(stack, experiment_id=number, n_instances=1)
            asked.append(tokens(stack))
    assert asked == [1, 2, 2]
