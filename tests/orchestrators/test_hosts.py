"""The app in three hosts, as Flex Consumption runs it: HTTP, Durable, and all other triggers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import Api, eventually, existing_resources, experiment, send, wire

pytestmark = pytest.mark.slow

BY_HTTP, BY_QUEUE = 4301, 4302
VMS = 3


@dataclass(frozen=True)
class Outcome:
    """The outcome of two fleets."""

    ends: list[str]
    left: list[str]
    made: dict[int, int]
    """VMs created in Azure, by batch."""
    executed: dict[str, set[str]]
    """The functions that each host called, by its role."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    state: Path = tmp_path_factory.mktemp("hosts")
    roles = ("http", "durable", "triggers")
    settings = {"FLEET_SWEEP_SCHEDULE": "*/2 * * * * *"}
    stack = Stack(state, time_scale=0.01, machines="none", app_settings=settings, hosts=roles)
    with stack:
        api, batches = Api(stack), (BY_HTTP, BY_QUEUE)
        api.start(**request(stack, BY_HTTP))
        send(stack, json.dumps(request(stack, BY_QUEUE)))
        eventually(lambda: api.get(f"fleet-{BY_QUEUE}").status_code == 200 or None)
        for batch in batches:
            api.wait(f"fleet-{batch}", "run")
        yield Outcome(
            ends=[api.end(f"fleet-{batch}")["phase"] for batch in batches],
            left=[name for batch in batches for name in existing_resources(stack, batch)],
            made={batch: vms_made(stack, batch) for batch in batches},
            executed={role: executed(stack.logs / f"host-{role}.log") for role in roles},
        )


def request(stack: Stack, batch: int) -> dict[str, Any]:
    return {"experiment_id": experiment(stack), "n_instances": VMS, "batch_id": batch}


def vms_made(stack: Stack, batch: int) -> int:
    vm = re.compile(r".*/virtualMachines/powerlift-vm-[^/]+")
    calls = (call for call in wire(stack, batch=batch) if vm.fullmatch(call["path"]))
    return sum((call["method"], call["status"]) == ("PUT", 201) for call in calls)


def executed(log: Path) -> set[str]:
    return set(re.findall(r"Executed '(\w+)' \(Succeeded", log.read_text()))


def test_both_fleets_reach_their_expected_phase(outcome: Outcome) -> None:
    assert outcome.ends == ["cancelled", "cancelled"]


def test_every_vm_is_created_once(outcome: Outcome) -> None:
    assert outcome.made == {BY_HTTP: VMS, BY_QUEUE: VMS}


def test_nothing_is_left_in_azure(outcome: Outcome) -> None:
    assert outcome.left == []


def test_each_function_runs_only_in_the_host_of_its_role(outcome: Outcome) -> None:
    http, durable, triggers = (outcome.executed[role] for role in ("http", "durable", "triggers"))
    assert (http & durable, http & triggers, durable & triggers) == (set(), set(), set())
    assert ("submit_fleet" in http, "create_vm" in durable, "sweep" in triggers) == (True,) * 3
