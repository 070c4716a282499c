"""An order that carries the secrets of another fleet."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
import requests

from fleet.api.instance_status import order_in
from local.stack import Stack
from tests.harness import Api, experiment, wire

OWN, SPLICED = 4801, 4802


@pytest.fixture(scope="module")
def spliced(stack: Stack, api: Api) -> dict[str, Any]:
    """A fleet that the holder of the task hub's key started with the encrypted secrets of another."""
    other = api.start(
        experiment_id=experiment(stack), n_instances=1, batch_id=OWN, uri=stack.db_uri
    )
    api.end(other)
    keys = json.loads((stack.state_dir / "host" / "keys.json").read_text())
    hub, code = f"{stack.url}/runtime/webhooks/durabletask", {"code": keys["master"]}
    started = requests.get(f"{hub}/instances/{other}", code, timeout=30).json()["input"]
    changed = {**order_in(json.loads(started)), "batch_id": SPLICED}
    url = f"{hub}/orchestrators/run_fleet/fleet-{SPLICED}"
    assert requests.post(url, params=code, json=changed, timeout=30).status_code == 202
    return api.wait(f"fleet-{SPLICED}")


def test_secrets_of_another_fleet_in_an_order_fail_the_fleet(spliced: dict[str, Any]):
    reason = spliced["reason"]
    assert (spliced["phase"], reason["code"]) == ("failed", "SealBroken")
    assert "belong to another fleet" in reason["message"]


def test_a_fleet_with_the_secrets_of_another_sends_no_request_to_azure(
    spliced: dict[str, Any], stack: Stack
):
    assert wire(stack, batch=SPLICED) == []


def test_a_broken_seal_is_not_retried_and_does_not_prevent_the_fleets_completion(
    spliced: dict[str, Any], stack: Stack
):
    log = (stack.logs / "host.log").read_text().splitlines()
    of_fleet = [one for one in log if f"fleet=fleet-{SPLICED} " in one]
    failed = [one for one in of_fleet if "event=call.failed" in one and "code=SealBroken" in one]
    by_activity = Counter(re.findall(r"activity=(\w+)", " ".join(failed)))
    assert (by_activity["plan_fleet"], by_activity["report_completion"]) == (1, 0)
    assert any("event=fleet.ended" in one for one in of_fleet)
