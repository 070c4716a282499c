"""Cancelling a fleet: in every phase, repeatedly, and across a crash of the host."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from local.stack import Stack
from tests.harness import Api, eventually, existing_resources, experiment, wire


def many(stack: Stack, batch: int, **changes: Any) -> dict[str, Any]:
    """A fleet that takes many waves to create."""
    usual = {"n_instances": 40, "max_undead": 2, "batch_id": batch}
    return {"experiment_id": experiment(stack, trials=40), **usual, **changes}


def wait_for_vms(stack: Stack, batch: int) -> None:
    """Wait for the first VMs of a batch."""
    marker = "/virtualmachines/"

    def look() -> bool | None:
        calls = wire(stack, batch=batch)
        return any(c["method"] == "PUT" and marker in c["path"].lower() for c in calls) or None

    eventually(look)


def test_a_fleet_is_cancelled_while_vms_are_created(stack: Stack, api: Api):
    fleet_id = api.start(**many(stack, 4101))
    wait_for_vms(stack, 4101)
    fleet = api.end(fleet_id)
    assert (
        fleet["phase"],
        fleet["machines"]["accepted"] < 40,
        existing_resources(stack, 4101),
    ) == (
        "cancelled",
        True,
        [],
    )


def test_a_fleet_is_cancelled_before_anything_is_created(stack: Stack, api: Api):
    fleet_id = api.start(**many(stack, 4102))
    fleet = api.end(fleet_id)
    assert (fleet["phase"], existing_resources(stack, 4102)) == ("cancelled", [])


def test_a_fleet_is_cancelled_twice(stack: Stack, api: Api):
    fleet_id = api.start(**many(stack, 4103))
    wait_for_vms(stack, 4103)
    answers = [api.delete(fleet_id).status_code for _ in range(2)]
    fleet = api.wait(fleet_id)
    assert (answers, fleet["phase"], existing_resources(stack, 4103)) == (
        [202, 202],
        "cancelled",
        [],
    )


def test_a_completed_fleet_is_cancelled_again(stack: Stack, api: Api):
    fleet_id = api.start(**many(stack, 4104, n_instances=1))
    api.end(fleet_id)
    assert (api.delete(fleet_id).status_code, api.wait(fleet_id)["phase"]) == (202, "cancelled")


@pytest.mark.long
def test_a_cancellation_survives_a_lost_event(stack: Stack, api: Api):
    """An event raised during `continue_as_new` may be lost; the mark persists."""
    fleet_id = api.start(**many(stack, 4105, n_instances=4))
    api.wait(fleet_id, "create")
    keys = json.loads((stack.state_dir / "host" / "keys.json").read_text())
    url = f"{stack.url}/runtime/webhooks/durabletask/orchestrators/mark_cancelled/cancel-4105"
    marked = requests.post(url, params={"code": keys["master"]}, json={}, timeout=30)
    assert marked.status_code == 202, marked.text
    assert api.wait(fleet_id)["phase"] == "cancelled"


def test_a_cancellation_survives_a_crash(stack: Stack, api: Api):
    fleet_id = api.start(**many(stack, 4106))
    wait_for_vms(stack, 4106)
    api.delete(fleet_id)
    stack.kill_host()
    stack.start_host()
    assert (api.wait(fleet_id)["phase"], existing_resources(stack, 4106)) == ("cancelled", [])
