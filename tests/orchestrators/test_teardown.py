"""Teardowns of more resources than one LIST may delete, and of locked ones."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from activities.owned_resources import MAX_DELETIONS
from fleet.model import names
from local.stack import Stack
from tests.harness import Api, eventually, everything, experiment, sql, standing, wire
from tests.local.azure.driver import CONTRIBUTOR, NETWORK_API, ROLE_API, Driver

pytestmark = pytest.mark.slow

BATCH, MORE = 3801, 120
LOCKED = 3802


@dataclass(frozen=True)
class Torn:
    """A cancelled fleet with many NICs and a role that it did not create."""

    fleet: dict[str, Any]
    calls: list[dict[str, Any]]
    left: list[str]
    """Of the NICs and the role."""

    def deletions_by_list(self) -> Counter[int]:
        """Deletions after each LIST of disks, which only a teardown sends."""
        lists, counts = 0, Counter[int]()
        for call in self.calls:
            lists += call["method"] == "GET" and call["path"].endswith("/Microsoft.Compute/disks")
            counts[lists] += call["method"] == "DELETE"
        return counts


@pytest.fixture(scope="module")
def torn(stack: Stack, api: Api) -> Torn:
    driver = Driver(stack.arm, stack.state_dir / "azure")
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=BATCH)
    deadline = api.wait(fleet_id, "provisioned", "run")["deadline"]
    tags = names.tags(BATCH, 1, deadline, "tests", {})
    nics = [names.nic(BATCH, ordinal) for ordinal in range(100, 100 + MORE)]
    subnet = driver.subnet()

    def put(name: str) -> str:
        body = {**driver.nic_body(subnet), "tags": tags}
        answer = driver.send("PUT", driver.net("networkInterfaces", name), body, api=NETWORK_API)
        return str(answer.json()["id"])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(put, nics))
    made.append(put_role(driver, subnet.partition("/subnets/")[0], deadline))
    begin = len(wire(stack))
    fleet = api.end(fleet_id)
    standing = set(everything(stack))
    return Torn(fleet, wire(stack)[begin:], [one for one in made if one.lower() in standing])


def put_role(driver: Driver, scope: str, deadline: str) -> str:
    """A role assignment of VM 99, by its description only."""
    vm = driver.vm_path(names.vm(BATCH, 99))
    role = f"{driver.subscription}/providers/Microsoft.Authorization/roleDefinitions/{CONTRIBUTOR}"
    properties = {
        "roleDefinitionId": role,
        "principalId": str(uuid.uuid4()),
        "principalType": "User",
        "description": f"Powerlift Fleet tests: batch {BATCH} until {deadline}, VM {vm}",
    }
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    answer = driver.send("PUT", path, {"properties": properties}, api=ROLE_API)
    return str(answer.json()["id"])


def test_everything_of_the_batch_is_deleted(torn: Torn):
    assert torn.fleet["phase"] == "cancelled"
    assert torn.left == []


def test_one_list_deletes_no_more_than_azure_refills_until_the_next(torn: Torn):
    counts = torn.deletions_by_list()
    assert max(counts.values()) <= MAX_DELETIONS
    assert sum(counts.values()) >= MORE


def test_vms_are_deleted_after_the_first_list(torn: Torn):
    deletions = [call["path"] for call in torn.calls if call["method"] == "DELETE"]
    vm = names.vm(BATCH, 0)
    assert any(path.endswith(f"/{vm}") for path in deletions[:MAX_DELETIONS])


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack in which no role of the batch LOCKED can be deleted."""
    lock = {"on": "role.delete", "match": f"-{LOCKED}-", "error": "ScopeLocked"}
    state = tmp_path_factory.mktemp("locked")
    with Stack(state, time_scale=0.01, machines="none", faults={"faults": [lock]}) as stack:
        yield stack


def test_trials_are_requeued_if_a_role_is_locked(locked: Stack):
    api, number = Api(locked), experiment(locked, trials=1)
    fleet_id = api.start(experiment_id=number, n_instances=1, batch_id=LOCKED)
    api.wait(fleet_id, "run")
    held = "UPDATE trial SET start_time = now(), runner_id = %s WHERE experiment_id = %s"
    sql(locked, held, names.runner_id(LOCKED, 0), number)
    api.delete(fleet_id)
    ready = "SELECT id FROM trial WHERE experiment_id = %s AND runner_id = -1"
    eventually(lambda: sql(locked, ready, number) or None)
    (left,) = standing(locked, LOCKED)
    assert (api.get(fleet_id).json()["phase"], "/roleassignments/" in left) == ("teardown", True)
