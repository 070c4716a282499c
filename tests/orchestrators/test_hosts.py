"""Two hosts on one task hub: both run Durable Functions, one HTTP and the other the remaining triggers.

They run the last release. One of them crashes while a fleet creates VMs, and comes back with the code of
today: the fleets continue on both. (test_crashes.py kills any host of several, again and again.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.stack import REPOSITORY, Stack
from tests.harness import VISIBILITY_TIMEOUT, Api, eventually, existing_resources, experiment, send
from tests.histories.releases import orchestrator_version, unpack_last
from tests.vm_calls import ROLE, VM, VmCalls

pytestmark = pytest.mark.long

HTTP, TRIGGERS = "http,durable", "durable,triggers"
BY_HTTP, BY_QUEUE = 4301, 4302
VMS, UNDEAD = 6, 2
SETTINGS = {"FLEET_SWEEP_SCHEDULE": "*/2 * * * * *"}
FAULTS = [
    {"on": "nic.put", "match": f"-{BY_HTTP}-0003", "nth": [1, 2], "lost": True},
    {"on": "vm.put", "match": f"-{BY_HTTP}-0002", "times": 1, "error": "CrpThrottled"},
    {"on": "vm.put", "match": f"-{BY_HTTP}-", "nth": [3, 5], "slow": 30},
    {"on": "role.put", "match": f"-{BY_QUEUE}-0001", "nth": [1], "error": "PrincipalNotFound"},
]
"""None of them replaces a VM."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of two fleets."""

    ends: list[str]
    release: str
    """The orchestrator version of the last release."""
    versions: set[str]
    left: list[str]
    azure: dict[int, VmCalls]
    """By batch."""
    executed: dict[str, set[str]]
    """The functions that each host called, by its roles."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    state, release = tmp_path_factory.mktemp("hosts"), tmp_path_factory.mktemp("release")
    stack = Stack(
        state,
        time_scale=0.01,
        machines="none",
        app_settings=SETTINGS,
        faults={"faults": FAULTS},
        hosts=(HTTP, TRIGGERS),
        visibility_timeout=VISIBILITY_TIMEOUT,
        app=unpack_last(release),
    )
    with stack:
        api, fleets = Api(stack), [f"fleet-{batch}" for batch in (BY_HTTP, BY_QUEUE)]
        api.start(**request(stack, BY_HTTP))
        send(stack, json.dumps(request(stack, BY_QUEUE)))
        eventually(lambda: api.get(fleets[1]).status_code == 200 or None)
        eventually(lambda: calls(stack, BY_HTTP).puts(VM) or None)
        stack.app = REPOSITORY
        stack.kill_host(1)
        stack.start_host()
        shown = [api.wait(fleet, "run") for fleet in fleets]
        yield Outcome(
            ends=[api.end(fleet)["phase"] for fleet in fleets],
            release=orchestrator_version(release),
            versions={str(one["version"]) for one in shown},
            left=[
                name for batch in (BY_HTTP, BY_QUEUE) for name in existing_resources(stack, batch)
            ],
            azure={batch: calls(stack, batch) for batch in (BY_HTTP, BY_QUEUE)},
            executed={roles: executed(stack, roles) for roles in (HTTP, TRIGGERS)},
        )


def request(stack: Stack, batch: int) -> dict[str, Any]:
    numbers = {"n_instances": VMS, "max_undead": UNDEAD, "batch_id": batch}
    return {"experiment_id": experiment(stack, trials=VMS), **numbers}


def calls(stack: Stack, batch: int) -> VmCalls:
    return VmCalls([call for call in stack.wire() if f"-{batch}-" in call["path"]])


def log(stack: Stack, roles: str) -> str:
    return (stack.logs / f"host-{roles.replace(',', '-')}.log").read_text()


def executed(stack: Stack, roles: str) -> set[str]:
    return set(re.findall(r"Executed '(\w+)' \(Succeeded", log(stack, roles)))


def test_both_fleets_reach_their_expected_phase(outcome: Outcome) -> None:
    assert outcome.ends == ["cancelled", "cancelled"]


def test_the_fleets_keep_the_version_of_the_release_that_started_them(outcome: Outcome) -> None:
    assert outcome.versions == {outcome.release}


@pytest.mark.parametrize("batch", [BY_HTTP, BY_QUEUE])
def test_every_vm_and_role_is_created_once(outcome: Outcome, batch: int) -> None:
    azure = outcome.azure[batch]
    assert (azure.created(VM), azure.created(ROLE)) == ([1] * VMS, [1] * VMS)


@pytest.mark.parametrize("batch", [BY_HTTP, BY_QUEUE])
def test_both_hosts_keep_to_max_undead_together(outcome: Outcome, batch: int) -> None:
    assert outcome.azure[batch].most_without_role() <= UNDEAD


def test_roles_are_assigned_in_order_of_creation(outcome: Outcome) -> None:
    assert outcome.azure[BY_HTTP].most_overtaking() < UNDEAD, "more than those of one fan-out"


def test_nothing_is_left_in_azure(outcome: Outcome) -> None:
    assert outcome.left == []


def test_both_hosts_run_activities_and_orchestrators(outcome: Outcome) -> None:
    of_vms = {"create_vm", "assign_permissions", "list_vms", "record_snapshot", "delete_vm"}
    for names in outcome.executed.values():
        assert "run_fleet" in names
        assert names & of_vms


def test_other_functions_run_only_in_the_host_of_their_role(outcome: Outcome) -> None:
    names = {"submit_fleet": HTTP, "submit_fleet_from_queue": TRIGGERS, "sweep": TRIGGERS}
    found = {
        name: {roles for roles, ran in outcome.executed.items() if name in ran} for name in names
    }
    assert found == {name: {roles} for name, roles in names.items()}
