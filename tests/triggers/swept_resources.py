"""Resources for a sweep to find, and the task hub with the states of fleets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass

import requests
from cryptography.fernet import Fernet

from fleet.model import names
from fleet.settings import Settings
from local.stack import REPOSITORY, Stack
from tests.harness import all_resource_ids, eventually
from tests.local.azure.driver import (
    CONTRIBUTOR,
    GROUP,
    Driver,
    until,
)

OWNER, ROLE = "sweep-tests", "0d4ad3f5-52f9-4a9b-8d6b-1f7f5a0b9e21"
PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
SOMEBODY = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
SWEEP = """
import asyncio, json
from azure.durable_functions import DurableOrchestrationClient
from azure.functions.timer import TimerRequest
from triggers.sweep.timer import sweep

nowhere = "http://127.0.0.1:9/"
urls = {"creationUrls": {}, "managementUrls": {}, "baseUrl": nowhere, "rpcBaseUrl": nowhere}
client = DurableOrchestrationClient(json.dumps({"taskHubName": "none", **urls}))
asyncio.run(sweep._function._func.client_function(TimerRequest(), client))
"""


@dataclass(frozen=True)
class Cloud:
    """Direct access to Azure with the SDKs, bypassing the app."""

    stack: Stack
    driver: Driver

    def owner(self, hub: str = "PowerliftFleet") -> str:
        """The owner tag of this deployment, or of one that differs only in its task hub."""
        key = (self.stack.state_dir / "sealing.key").read_text()
        environment = {"FLEET_OWNER": OWNER, "FLEET_SEALING_KEY": key, "TASKHUB_NAME": hub}
        return Settings.read({**environment, "POWERLIFT_DB_URI": self.stack.db_uri}).owner

    def vm(self, batch: int, tags: dict[str, str], *, nic_stays: bool = False) -> str:
        """Make a VM with NIC and disk, named as the app names them, until it runs; returns its id."""
        nic = make_nic(self.driver, names.nic(batch, 0), tags)
        body = {**self.driver.vm_body(nic), "tags": tags}
        name = names.vm(batch, 0)
        body["properties"]["storageProfile"]["osDisk"]["name"] = names.os_disk(name)
        if nic_stays:
            held = body["properties"]["networkProfile"]["networkInterfaces"][0]
            held["properties"]["deleteOption"] = "Detach"
        machines = self.driver.compute().virtual_machines
        return str(machines.begin_create_or_update(GROUP, name, body).result().id)

    def retag(self, batch: int, ordinal: int = 0, **tags: str) -> None:
        """Change tags of a VM's NIC."""
        name, nics = names.nic(batch, ordinal), self.driver.network().network_interfaces
        nic = nics.get(GROUP, name)
        nic.tags |= tags
        nics.begin_create_or_update(GROUP, name, nic).result()

    def resources(self, batch: int) -> list[str]:
        """The ids of a batch's resources, including its role assignments at any scope."""
        assignments = self.driver.authorization().role_assignments.list_for_subscription()
        ours = [
            one.id.lower() for one in assignments if f": batch {batch} " in (one.description or "")
        ]
        return sorted(
            {*ours, *(one for one in all_resource_ids(self.stack) if f"-{batch}-" in one)}
        )

    def wait_until_deleted(self, batch: int) -> None:
        """Wait until no resource of a batch exists."""
        eventually(lambda: None if self.resources(batch) else True)

    def exists(self, resource_id: str) -> bool:
        return resource_id.lower() in all_resource_ids(self.stack)

    def sweep_count(self) -> int:
        """The number of sweeps that have listed the disks, which otherwise only a teardown does."""
        path = f"{self.driver.group}/providers/Microsoft.Compute/disks"
        return len([c for c in self.stack.wire() if c["method"] == "GET" and c["path"] == path])

    def swept(self, times: int = 3) -> None:
        """Wait for `times` more sweeps. The first may already be running."""
        enough = self.sweep_count() + times
        eventually(lambda: True if self.sweep_count() >= enough else None)


@dataclass(frozen=True)
class Hub:
    """Direct access to the task hub with the durable extension's HTTP API."""

    stack: Stack

    def tell(self, fleet_id: str, verb: str) -> None:
        """`terminate` or `suspend` an instance."""
        self._call("POST", f"{fleet_id}/{verb}?reason=test")

    def purge(self, fleet_id: str) -> None:
        """Terminate an instance and purge it."""
        self.tell(fleet_id, "terminate")
        eventually(lambda: True if self.status(fleet_id) == "Terminated" else None)
        self._call("DELETE", fleet_id)

    def status(self, fleet_id: str) -> str:
        return str(self._call("GET", fleet_id).json()["runtimeStatus"])

    def _call(self, method: str, path: str) -> requests.Response:
        ready = json.loads((self.stack.state_dir / "host" / "ready.json").read_text())
        answer = requests.request(
            method,
            f"{self.stack.url}/runtime/webhooks/durabletask/instances/{path}",
            headers={"x-functions-key": ready["keys"]["master"]},
            timeout=30,
        )
        assert answer.status_code < 300, answer.text
        return answer


def tags(batch: int, deadline: str, owner: str = "another", **more: str) -> dict[str, str]:
    return {**names.tags(batch, 1, deadline, owner, {}), **more}


def make_nic(driver: Driver, name: str, tags: dict[str, str]) -> str:
    """Make a network interface with tags; returns its id."""
    body = {**driver.nic_body(driver.subnet()), "tags": tags}
    interfaces = driver.network().network_interfaces
    return str(interfaces.begin_create_or_update(GROUP, name, body).result().id)


def make_role(driver: Driver, scope: str, description: str, user: int = 0) -> str:
    """Make a role assignment for one of the tenant's users; returns its id."""
    role = f"{driver.subscription}/providers/Microsoft.Authorization/roleDefinitions/{CONTRIBUTOR}"
    properties = {
        "roleDefinitionId": role,
        "principalId": driver.ready["users"][user],
        "principalType": "User",
        "description": description,
    }
    assignments = driver.authorization().role_assignments
    made = assignments.create(scope.lstrip("/"), str(uuid.uuid4()), {"properties": properties})
    return str(made.id)


def restrict_to_group(driver: Driver) -> None:
    """Remove the app's permissions outside the resource group."""
    assignments = driver.authorization().role_assignments
    (whole,) = assignments.list_for_scope(driver.subscription.lstrip("/"), filter="atScope()")
    properties = {
        "roleDefinitionId": whole.role_definition_id,
        "principalId": whole.principal_id,
        "principalType": "ServicePrincipal",
    }
    assignments.create(driver.group.lstrip("/"), str(uuid.uuid4()), {"properties": properties})
    assignments.delete_by_id(whole.id.lstrip("/"))
    until(lambda: driver.send("GET", driver.net("networkInterfaces")).status_code == 200)


def sweep_once(driver: Driver) -> None:
    """Run one sweep in a separate process, with a durable client whose host does not respond."""
    settings = {
        "FLEET_OWNER": OWNER,
        "FLEET_SEALING_KEY": Fernet.generate_key().decode(),
        "POWERLIFT_DB_URI": "postgresql://nobody@127.0.0.1:1/none",
    }
    environment = {**os.environ, **driver.ready["env"], **settings}
    subprocess.run([sys.executable, "-c", SWEEP], env=environment, check=True, cwd=REPOSITORY)
