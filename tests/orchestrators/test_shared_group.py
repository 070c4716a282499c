"""Two deployments in one resource group choose the same batch ID, and so the same names."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from fleet.model import names
from local.stack import Stack
from tests.harness import Api, eventually, existing_resources, experiment, lose_vm, wire
from tests.local.azure.driver import CONTRIBUTOR, NETWORK_API, ROLE_API, Driver

pytestmark = pytest.mark.slow

PLANNED, WITH_VM, WITHOUT_VM, OWN = 3851, 3852, 3853, 3854
OTHER = "another"
VMS = "/Microsoft.Compute/virtualMachines"
LISTS = 4
"""A VM counts as deleted when two lists do not show it, and each list follows the previous deletions."""


class Other:
    """The other deployment."""

    def __init__(self, stack: Stack) -> None:
        self.driver = Driver(stack.arm, stack.state_dir / "azure")
        self.location = stack.arm["location"]

    def nic_path(self, batch: int, ordinal: int) -> str:
        return self.driver.net("networkInterfaces", names.nic(batch, ordinal))

    def tags(self, batch: int, ordinal: int) -> dict[str, str]:
        nic = self.driver.send("GET", self.nic_path(batch, ordinal), api=NETWORK_API)
        return dict(nic.json().get("tags", {}))

    def put_nic(self, batch: int, ordinal: int, tags: dict[str, str] | None = None) -> str:
        network = self.driver.net("virtualNetworks", names.vnet(self.location))
        body = self.driver.nic_body(f"{network}/subnets/{names.subnet(self.location)}")
        owned = names.tags(batch, 1, "2100-01-01T00:00:00Z", OTHER, {})
        path = self.nic_path(batch, ordinal)
        body |= {"tags": tags or owned, "location": self.location}
        answer = self.driver.send("PUT", path, body, api=NETWORK_API)
        assert answer.status_code == 201, answer.text
        return path

    def put_vm(self, batch: int, ordinal: int) -> list[str]:
        """A VM with its NIC and its role at itself. Returns their IDs, in lower case."""
        nic, vm = self.put_nic(batch, ordinal), self.driver.vm_path(names.vm(batch, ordinal))
        answer = self.driver.send(
            "PUT", vm, {**self.driver.vm_body(nic), "location": self.location}
        )
        assert answer.status_code == 201, answer.text
        self.driver.settled(vm)
        about = f"{OTHER}: batch {batch} until 2100-01-01T00:00:00Z"
        roles = f"{self.driver.subscription}/providers/Microsoft.Authorization/roleDefinitions"
        properties = {
            "roleDefinitionId": f"{roles}/{CONTRIBUTOR}",
            "principalId": self.driver.ready["users"][0],
            "principalType": "User",
            "description": f"Powerlift Fleet {about}, VM {vm}",
        }
        role = f"{vm}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        answer = self.driver.send("PUT", role, {"properties": properties}, api=ROLE_API)
        assert answer.status_code == 201, answer.text
        return [one.lower() for one in (vm, nic, role)]

    def lost(self, made: list[str], stack: Stack, batch: int) -> list[str]:
        return [one for one in made if one not in existing_resources(stack, batch)]


@dataclass(frozen=True)
class Outcome:
    """A completed fleet, and what the other deployment has lost by then."""

    fleet: dict[str, Any]
    lost: list[str]
    owner: str
    """Of the NIC that both wanted."""


@pytest.fixture(scope="module")
def other(stack: Stack, api: Api) -> Other:
    """Once a fleet has created the location's network."""
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1)
    api.wait(fleet_id, "run")
    api.end(fleet_id)
    return Other(stack)


@pytest.fixture(scope="module")
def planned(stack: Stack, api: Api, other: Other) -> Outcome:
    """The other deployment's VM exists when the fleet is submitted, which is then cancelled too."""
    made = other.put_vm(PLANNED, 0)
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=PLANNED)
    fleet = api.wait(fleet_id)
    api.delete(fleet_id)
    api.wait(fleet_id)
    owner = other.tags(PLANNED, 0)[names.OWNER_TAG]
    return Outcome(fleet, other.lost(made, stack, PLANNED), owner)


def run_beside(stack: Stack, api: Api, batch: int) -> str:
    """A fleet that runs, and replaces its VM if that is lost."""
    fleet_id = api.start(
        experiment_id=experiment(stack),
        n_instances=1,
        batch_id=batch,
        vm_size="Standard_D2s_v5",
        priority="Spot",
    )
    api.wait(fleet_id, "run")
    return fleet_id


def lists(stack: Stack) -> int:
    return sum(c["method"] == "GET" and c["path"].endswith(VMS) for c in wire(stack))


def lose_and_end(stack: Stack, api: Api, other: Other, fleet_id: str, made: list[str]) -> Outcome:
    """Let the fleet replace its VM by one whose names the other deployment uses."""
    batch = names.batch_of(fleet_id)
    assert batch is not None
    lose_vm(stack, batch, 0)
    fleet = api.wait(fleet_id)
    owner = other.tags(batch, 1).get(names.OWNER_TAG, "nobody")
    return Outcome(fleet, other.lost(made, stack, batch), owner)


@dataclass(frozen=True)
class Beside:
    """A running fleet, what the other deployment has created since, and what it has lost of that."""

    fleet_id: str
    made: list[str]
    lost: list[str]


@pytest.fixture(scope="module")
def beside(stack: Stack, api: Api, other: Other) -> Beside:
    """The other deployment creates a VM while the fleet runs, which then lists its VMs."""
    fleet_id = run_beside(stack, api, WITH_VM)
    made = other.put_vm(WITH_VM, 1)
    enough = lists(stack) + LISTS
    eventually(lambda: True if lists(stack) >= enough else None)
    return Beside(fleet_id, made, other.lost(made, stack, WITH_VM))


@pytest.fixture(scope="module")
def with_vm(stack: Stack, api: Api, other: Other, beside: Beside) -> Outcome:
    return lose_and_end(stack, api, other, beside.fleet_id, beside.made)


@pytest.fixture(scope="module")
def without_vm(stack: Stack, api: Api, other: Other) -> Outcome:
    """The other deployment has created the NIC of a VM that it is about to create."""
    fleet_id = run_beside(stack, api, WITHOUT_VM)
    made = [other.put_nic(WITHOUT_VM, 1).lower()]
    return lose_and_end(stack, api, other, fleet_id, made)


def test_the_plan_rejects_a_batch_id_that_another_deployment_uses(planned: Outcome):
    reason = planned.fleet["reason"]
    assert (planned.fleet["phase"], reason["code"]) == ("failed", "BatchIdTaken")
    assert names.nic(PLANNED, 0) in reason["message"]


def test_a_rejected_fleet_deletes_nothing_of_the_other_deployment(planned: Outcome):
    assert (planned.lost, planned.owner) == ([], OTHER)


def test_a_running_fleet_deletes_no_vm_of_another_deployment(beside: Beside):
    assert beside.lost == []


def test_a_vm_of_another_deployment_is_not_taken_over(with_vm: Outcome):
    assert (with_vm.lost, with_vm.owner) == ([], OTHER)


@pytest.mark.long
def test_a_nic_of_another_deployment_is_not_taken_over(without_vm: Outcome):
    assert (without_vm.lost, without_vm.owner) == ([], OTHER)


def test_the_vm_that_could_not_be_created_has_a_reason(without_vm: Outcome):
    [group] = [one for one in without_vm.fleet["failures"] if one["code"] == "BatchIdTaken"]
    assert "different batch_id" in group["advice"]


@pytest.mark.long
def test_a_nic_that_an_earlier_run_of_the_activity_created_is_used(
    stack: Stack, api: Api, other: Other
):
    fleet_id = run_beside(stack, api, OWN)
    other.put_nic(OWN, 1, other.tags(OWN, 0))
    lose_vm(stack, OWN, 0)
    vm = names.vm(OWN, 1)
    eventually(lambda: _runs(api, fleet_id, vm) or None)
    api.end(fleet_id)
    assert existing_resources(stack, OWN) == []


def _runs(api: Api, fleet_id: str, vm: str) -> bool:
    return any((one["name"], one["state"]) == (vm, "running") for one in api.machines(fleet_id))
