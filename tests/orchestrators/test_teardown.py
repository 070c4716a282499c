"""Teardowns of more resources than one LIST may delete, of locked ones, and of forged tags."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from fleet.model import names
from local.stack import Stack
from orchestrators.teardown import DELETIONS_PER_POLL
from tests.harness import (
    Api,
    all_resource_ids,
    eventually,
    existing_resources,
    experiment,
    sql,
    wire,
)
from tests.local.azure.driver import CONTRIBUTOR, NETWORK_API, ROLE_API, Driver

pytestmark = pytest.mark.slow

BATCH, MORE = 3801, 120
LOCKED = 3802


@dataclass(frozen=True)
class TornDown:
    """A cancelled fleet with many NICs and a role that it did not create."""

    fleet: dict[str, Any]
    calls: list[dict[str, Any]]
    left: list[str]
    """Of the NICs and the role."""

    def deletions(self) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["method"] == "DELETE"]

    def lists(self) -> int:
        """LISTs of disks, which only a teardown sends, until the last deletion."""
        last = max(call["n"] for call in self.deletions())
        return sum(
            call["method"] == "GET" and call["path"].endswith("/Microsoft.Compute/disks")
            for call in self.calls
            if call["n"] < last and "skiptoken" not in str(call["query"])
        )


@pytest.fixture(scope="module")
def torn_down(stack: Stack, api: Api) -> TornDown:
    driver = Driver(stack.arm, stack.state_dir / "azure")
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=BATCH)
    api.wait(fleet_id, "provisioned", "run")
    tags = nic_tags(driver, BATCH)
    nics = [names.nic(BATCH, ordinal) for ordinal in range(100, 100 + MORE)]
    subnet = driver.subnet()

    def put(name: str) -> str:
        body = {**driver.nic_body(subnet), "tags": tags}
        answer = driver.send("PUT", driver.net("networkInterfaces", name), body, api=NETWORK_API)
        return str(answer.json()["id"])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(put, nics))
    made.append(put_role(driver, subnet.partition("/subnets/")[0], tags))
    begin = len(wire(stack))
    fleet = api.end(fleet_id)
    existing_resources = set(all_resource_ids(stack))
    return TornDown(
        fleet, wire(stack)[begin:], [one for one in made if one.lower() in existing_resources]
    )


def nic_tags(driver: Driver, batch: int) -> dict[str, str]:
    """The tags of the first VM's NIC."""
    path = driver.net("networkInterfaces", names.nic(batch, 0))
    return dict(driver.send("GET", path, api=NETWORK_API).json()["tags"])


def put_role(driver: Driver, scope: str, tags: dict[str, str]) -> str:
    """A role assignment of VM 99, by its description only."""
    vm = driver.vm_path(names.vm(BATCH, 99))
    role = f"{driver.subscription}/providers/Microsoft.Authorization/roleDefinitions/{CONTRIBUTOR}"
    properties = {
        "roleDefinitionId": role,
        "principalId": driver.ready["users"][0],
        "principalType": "User",
        "description": f"Powerlift Fleet {tags[names.OWNER_TAG]}: batch {BATCH} until "
        f"{tags[names.DEADLINE_TAG]}, VM {vm}",
    }
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    answer = driver.send("PUT", path, {"properties": properties}, api=ROLE_API)
    return str(answer.json()["id"])


def test_everything_of_the_batch_is_deleted(torn_down: TornDown):
    assert torn_down.fleet["phase"] == "cancelled"
    assert torn_down.left == []


def test_deletions_stay_within_azures_write_rate(stack: Stack, torn_down: TornDown):
    """A durable timer, of a second or more, follows each hundred."""
    sent = [call["at"] for call in torn_down.deletions()]
    starts, ends = sent, sent[DELETIONS_PER_POLL:]
    assert len(sent) >= MORE
    assert (
        min(end - start for start, end in zip(starts, ends, strict=False)) * stack.time_scale >= 1
    )


def test_one_list_is_followed_by_several_parts_of_the_deletions(torn_down: TornDown):
    """A LIST costs a page per 50 resources, so few of them delete many VMs."""
    assert torn_down.lists() == 1


def test_vms_are_deleted_after_the_first_list(torn_down: TornDown):
    vm = names.vm(BATCH, 0)
    first = torn_down.deletions()[:DELETIONS_PER_POLL]
    assert any(call["path"].endswith(f"/{vm}") for call in first)


def disk_lists(stack: Stack) -> int:
    path = "/Microsoft.Compute/virtualMachines"
    return sum(c["method"] == "GET" and c["path"].endswith(path) for c in wire(stack))


@pytest.mark.long
def test_a_vm_that_removes_its_tags_is_still_deleted(stack: Stack, api: Api):
    driver = Driver(stack.arm, stack.state_dir / "azure")
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=3803)
    api.wait(fleet_id, "run")
    vm = driver.vm_path(names.vm(3803, 0))
    assert driver.send("PATCH", vm, {"tags": {}}).json()["tags"] == {}
    enough = disk_lists(stack) + 4  # a VM counts as deleted when two lists do not show it
    eventually(lambda: True if disk_lists(stack) >= enough else None)
    states = [one["state"] for one in api.machines(fleet_id)]
    api.end(fleet_id)
    assert (states, existing_resources(stack, 3803)) == (["running"], [])


def test_a_vm_that_forges_its_tags_is_not_part_of_another_fleet(stack: Stack, api: Api):
    driver = Driver(stack.arm, stack.state_dir / "azure")
    batches = 3804, 3805
    fleets = [
        api.start(experiment_id=experiment(stack), n_instances=1, batch_id=batch)
        for batch in batches
    ]
    for fleet_id in fleets:
        api.wait(fleet_id, "run")
    vms = [driver.vm_path(names.vm(batch, 0)) for batch in batches]
    forged = driver.send("GET", vms[1]).json()["tags"]
    driver.send("PATCH", vms[0], {"tags": forged})
    api.end(fleets[1])
    left = [driver.send("GET", vm).status_code for vm in vms]
    api.end(fleets[0])
    assert left == [200, 404]


def test_a_nic_of_another_deployment_with_the_same_batch_id_is_left_alone(stack: Stack, api: Api):
    driver = Driver(stack.arm, stack.state_dir / "azure")
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=3806)
    api.wait(fleet_id, "run")
    location = stack.arm["location"]
    network = driver.net("virtualNetworks", names.vnet(location))
    body = driver.nic_body(f"{network}/subnets/{names.subnet(location)}")
    body["tags"] = names.tags(3806, 1, "2100-01-01T00:00:00Z", "another", {})
    nic = driver.net("networkInterfaces", names.nic(3806, 7))
    driver.send("PUT", nic, body, api=NETWORK_API)
    api.end(fleet_id)
    left = existing_resources(stack, 3806)
    driver.send("DELETE", nic, api=NETWORK_API)
    assert left == [nic.lower()]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack on which no role of the batch LOCKED can be deleted."""
    lock = {"on": "role.delete", "match": f"-{LOCKED}-", "error": "ScopeLocked"}
    state = tmp_path_factory.mktemp("locked")
    with Stack(state, time_scale=0.01, machines="none", faults={"faults": [lock]}) as stack:
        yield stack


@pytest.mark.long
def test_trials_are_requeued_if_a_role_is_locked(locked: Stack):
    api, number = Api(locked), experiment(locked, trials=1)
    fleet_id = api.start(experiment_id=number, n_instances=1, batch_id=LOCKED)
    api.wait(fleet_id, "run")
    held = "UPDATE trial SET start_time = now(), runner_id = %s WHERE experiment_id = %s"
    sql(locked, held, names.runner_id(LOCKED, 0), number)
    api.delete(fleet_id)
    ready = "SELECT id FROM trial WHERE experiment_id = %s AND runner_id = -1"
    eventually(lambda: sql(locked, ready, number) or None)
    (left,) = existing_resources(locked, LOCKED)
    assert (api.get(fleet_id).json()["phase"], "/roleassignments/" in left) == ("teardown", True)
