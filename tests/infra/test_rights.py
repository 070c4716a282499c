"""The roles of the template are enough for fleets, and contain nothing that no fleet needs.

The simulator gives its application exactly these roles, and logs each (scope, action) that Azure would
require.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.storage.queue import QueueServiceClient

from fleet.model import names
from local.stack import Stack
from tests.fleet.preflight import azure_inputs as plan
from tests.harness import Api, entra_credential, entra_storage, eventually, experiment
from tests.infra.compiled import SUBSCRIPTION, Example
from tests.local.azure.driver import GROUP, NETWORK_API, ROLE_API, SELF_DELETION, Driver, until
from tests.triggers.swept_resources import OWNER, PAST, Cloud, make_nic, tags

EXAMPLE = Example("existing-database")
ROLES = EXAMPLE.roles()
CLIENT = "22222222-2222-2222-2222-222222222222"  # in the example; here it is a user of the tenant
SIZE = "Standard_D2s_v5"
BATCH, ELSEWHERE, ORPHANED = 7101, 7102, 7103
RIGHTS = "Microsoft.Authorization/roleAssignments"
VM_GROUP = f"{SUBSCRIPTION}/resourceGroups/rg-team-vms"
IDENTITY = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/vms"
FAULTS = {
    "faults": [
        {"on": "vm.boot", "match": f"-{BATCH}-0000", "times": 1, "error": "OSProvisioningTimedOut"},
        {"on": "vm.put", "match": f"-{BATCH}-0001", "times": 1, "error": "BadRequest"},
    ],
    "evictions": [{"match": f"-{ELSEWHERE}-0000", "after": 60, "notice": 1}],
}


def actions(role: str) -> list[str]:
    return list(ROLES[role]["properties"]["permissions"][0]["actions"])


def test_the_vms_role_is_to_delete_itself():
    assert actions("vm") == list(SELF_DELETION)


def test_the_plan_misses_no_permission():
    kinds = ("provisioner", "assigner", "planner")
    granted = [ROLES[kind]["properties"]["permissions"][0] for kind in kinds]
    secured = plan.network(plan.OURS, networkSecurityGroup={"id": plan.GROUP})
    seen = plan.inputs(
        regions={"eastus": plan.region(network=secured)}, permissions={plan.GROUP: granted}
    )
    assert plan.statuses(seen, "permissions") == ["ok"]


def test_a_deployment_without_other_subnets_reads_no_other_network():
    roles = Example("isolated").roles()
    assert set(roles) == {"provisioner", "assigner", "planner", "vm"}
    reads = roles["planner"]["properties"]["permissions"][0]["actions"]
    assert not [action for action in reads if action.startswith("Microsoft.Network")]


class Deployment:
    """The simulated subscription, with the example's groups, networks, roles and assignments."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.api = stack, Api(stack)
        self.azure = Driver(stack.arm, stack.state_dir / "azure")
        self.azure._subnet = f"{self.azure.group}{OWN_SUBNET}"
        self.me: str = stack.arm["client_object_id"]
        self.user: str = stack.arm["users"][0]
        self.image = ""
        """The ID of an image in the example's gallery."""
        self.began = 0
        """The number of requests before the application lost its other rights."""

    def here(self, text: str) -> str:
        """Text of the example, for this subscription."""
        moved = text.replace(VM_GROUP, self.azure.group).replace(
            SUBSCRIPTION, self.azure.subscription
        )
        return moved.replace(CLIENT, self.user)

    def prepare(self) -> None:
        for group in ("data", "network", "images"):
            path = f"{self.azure.subscription}/resourceGroups/{group}"
            self.put(path, {"location": "eastus"}, "2021-04-01")
        self.image = self.azure.make_image("1.0.0", gallery="benchmarks", group=path)
        self.put(f"{self.azure.group}{IDENTITY}", {"location": "eastus"}, "2023-01-31")
        self.network(self.azure.group, names.vnet("eastus"), names.subnet("eastus"), "10.0")
        self.network(f"{self.azure.subscription}/resourceGroups/network", "hub", "vms", "10.1")
        for role in ROLES.values():
            self.put(self.here(role["id"]), json.loads(self.here(json.dumps(role))), ROLE_API)

    def put(self, path: str, body: Any, api: str) -> None:
        answer = self.azure.send(
            "PUT", path, {"properties": body["properties"]} if "id" in body else body, api=api
        )
        assert answer.status_code in (200, 201), answer.text

    def network(self, group: str, name: str, subnet: str, prefix: str) -> None:
        """A network with a secured subnet, as infra/network/vm-network.bicep makes it."""
        base = f"{group}/providers/Microsoft.Network"
        secured = f"{base}/networkSecurityGroups/nsg"
        self.put(secured, {"location": "eastus", "properties": {}}, NETWORK_API)
        self.azure.settled(secured, NETWORK_API)
        properties = {
            "addressPrefix": f"{prefix}.0.0/17",
            "defaultOutboundAccess": True,
            "networkSecurityGroup": {"id": secured},
        }
        body = {
            "addressSpace": {"addressPrefixes": [f"{prefix}.0.0/16"]},
            "subnets": [{"name": subnet, "properties": properties}],
        }
        path = f"{base}/virtualNetworks/{name}"
        self.put(path, {"location": "eastus", "properties": body}, NETWORK_API)
        self.azure.settled(path, NETWORK_API)

    def orphan(self) -> None:
        """A VM of an ended fleet, whose disk and interface outlive it."""
        owned = tags(ORPHANED, PAST, Cloud(self.stack, self.azure).owner())
        nic, name = make_nic(self.azure, names.nic(ORPHANED, 0), owned), names.vm(ORPHANED, 0)
        body = {**self.azure.vm_body(nic), "tags": owned}
        properties = body["properties"]
        kept = {"name": names.os_disk(name), "deleteOption": "Detach"}
        properties["storageProfile"]["osDisk"] |= kept
        properties["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] = (
            "Detach"
        )
        assert self.azure.send("PUT", self.azure.vm_path(name), body).status_code == 201

    def is_swept(self) -> bool:
        disk = names.os_disk(names.vm(ORPHANED, 0))
        path = f"{self.azure.group}/providers/Microsoft.Compute/disks/{disk}"
        return self.azure.send("GET", path).status_code == 404

    def restrict(self) -> None:
        """Give the application the template's assignments instead of Owner."""
        scope = f"{self.azure.subscription}/providers/{RIGHTS}"
        [owner] = self.azure.send("GET", scope, api=ROLE_API).json()["value"]
        for one in EXAMPLE.assignments():
            properties = {
                "roleDefinitionId": self.here(ROLES[one.role]["id"]),
                "principalId": self.me,
                "principalType": "ServicePrincipal",
            }
            if one.condition:
                properties |= {"condition": self.here(one.condition), "conditionVersion": "2.0"}
            path = f"{self.here(one.scope)}/providers/{RIGHTS}/{uuid.uuid4()}"
            self.put(path, {"properties": properties}, ROLE_API)
        subnet = self.here(EXAMPLE_SUBNET)
        until(lambda: len(self.permissions(self.azure.group)) == 4)
        until(lambda: len(self.permissions(subnet)) == 3)
        until(lambda: len(self.permissions(self.image)) == 3)
        until(lambda: len(self.permissions(self.here(EXAMPLE_STORAGE))) == 3)
        assert self.azure.send("DELETE", owner["id"], api=ROLE_API).status_code == 200
        self.began = len(self.stack.wire())

    def permissions(self, scope: str) -> list[Any]:
        path = f"{scope}/providers/Microsoft.Authorization/permissions"
        return list(self.azure.send("GET", path, api=ROLE_API).json()["value"])

    def fleets(self) -> None:
        """Fleets that are created, fail, are replaced and evicted, and are cancelled; and sweeps."""
        asked = {"experiment_id": experiment(self.stack), "n_instances": 4}
        first = self.api.start(
            **asked,
            batch_id=BATCH,
            location="eastus",
            resource_uris=[self.here(EXAMPLE_STORAGE)],
            client_principal_id=self.user,
            client_principal_type="User",
        )
        subnet = {
            "subnet_id": self.here(EXAMPLE_SUBNET),
            "location": "eastus",
            "outbound": "existing",
        }
        second = self.api.start(
            **asked,
            **subnet,
            batch_id=ELSEWHERE,
            priority="Spot",
            vm_size=SIZE,
            image_id=self.image,
        )
        for fleet in (first, second):
            self.api.wait(fleet, "provisioned", "run")
        # An identity for a database without passwords.
        nic = self.azure.make_nic()
        given = {
            "type": "UserAssigned",
            "userAssignedIdentities": {f"{self.azure.group}{IDENTITY}": {}},
        }
        body = {**self.azure.vm_body(nic), "identity": given}
        assert self.azure.send("PUT", self.azure.vm_path(WITH_IDENTITY), body).status_code == 201
        log = f"{self.stack.url}/api/fleets/{first}/machines/2/log"
        headers = {"x-functions-key": self.stack.key}
        assert requests.get(log, headers=headers, timeout=30).status_code == 200
        eventually(lambda: self.api.get(second).json()["failures"] or None)
        for fleet in (first, second):
            self.api.end(fleet)
        eventually(lambda: self.is_swept() or None)

    def calls(self) -> list[dict[str, Any]]:
        """The app's requests with the template's rights, and that for a VM with an identity."""
        made = [one for one in self.stack.wire()[self.began :] if one["principal"] == self.me]
        return [
            one
            for one in made
            if "python-requests" not in one["headers"]["user-agent"]
            or one["path"].endswith(WITH_IDENTITY)
        ]


WITH_IDENTITY = "with-identity"
NETWORKS = "/providers/Microsoft.Network/virtualNetworks"
OWN_SUBNET = f"{NETWORKS}/{names.vnet('eastus')}/subnets/{names.subnet('eastus')}"
EXAMPLE_STORAGE, EXAMPLE_SUBNET = (
    f"{SUBSCRIPTION}/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/results",
    f"{SUBSCRIPTION}/resourceGroups/network/providers/Microsoft.Network/virtualNetworks/hub/subnets/vms",
)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployment after its fleets have ended; a simulated minute takes 0.6 s."""
    anywhere = "/subscriptions/*/resourceGroups"
    settings = {
        "FLEET_OWNER": OWNER,
        "FLEET_SWEEP_SCHEDULE": "* * * * * *",
        "FLEET_VM_ROLE": ROLES["vm"]["name"],
        "FLEET_ALLOWED_SCOPES": f"{anywhere}/data/*",
        "FLEET_ALLOWED_SUBNETS": f"{anywhere}/network, {anywhere}/{GROUP}",
        "FLEET_ALLOWED_PRINCIPALS": "*",
        "FLEET_ALLOWED_IMAGES": f"canonical, {anywhere}/images",
    }
    state = tmp_path_factory.mktemp("rights")
    with Stack(
        state, time_scale=0.01, machines="none", app_settings=settings, faults=FAULTS
    ) as stack:
        deployment = Deployment(stack)
        deployment.prepare()
        deployment.restrict()
        deployment.orphan()
        deployment.fleets()
        yield deployment


@pytest.mark.long
def test_nothing_is_refused(deployed: Deployment):
    refused = [f"{one['method']} {one['path']}" for one in deployed.calls() if one["status"] == 403]
    assert refused == []


@pytest.mark.long
def test_nothing_is_spare(deployed: Deployment):
    """Each action of each assignment was required within its scope."""
    calls = deployed.calls()
    required = {
        (f"{scope}/".lower(), act.lower()) for one in calls for scope, act in one["demanded"]
    }

    def was_required(within: str, wanted: str) -> bool:
        prefix = f"{deployed.here(within)}/".lower()
        return any(act == wanted.lower() and scope.startswith(prefix) for scope, act in required)

    spare = [
        (one.scope, action)
        for one in EXAMPLE.assignments()
        for action in actions(one.role)
        if "*" not in action and not was_required(one.scope, action)
    ]
    assert spare == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("scope", "role", "principal"),
    [
        (VM_GROUP, "contributor", "app"),
        (VM_GROUP, "owner", "user"),
        (EXAMPLE_STORAGE, "owner", "app"),
        (EXAMPLE_STORAGE, "contributor", "user"),
        (SUBSCRIPTION, "vm", "app"),
    ],
)
def test_the_app_may_assign_nothing_else(
    deployed: Deployment, scope: str, role: str, principal: str
):
    guids = {
        "contributor": names.CONTRIBUTOR,
        "owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        "vm": ROLES["vm"]["name"],
    }
    who = {"app": (deployed.me, "ServicePrincipal"), "user": (deployed.user, "User")}[principal]
    answer = deployed.azure.put_role(deployed.here(scope), who[0], role=guids[role], type_=who[1])
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed")


@pytest.mark.long
def test_the_app_is_healthy_with_the_templates_settings(deployed: Deployment, tmp_path: Path):
    """As the platform resolves them. The app has no secret, only a managed identity."""
    stack, arm = deployed.stack, deployed.stack.arm
    [config] = EXAMPLE.of("Microsoft.Web/sites/config")
    known = {
        name: deployed.here(value)
        for name, value in config["properties"].items()
        if value[0] != "["
    }
    with entra_storage(arm, tmp_path) as storage:
        account = storage.queues_url, entra_credential(arm)
        with QueueServiceClient(*account, connection_verify=arm["ca_bundle"]) as service:
            service.create_queue("powerlift-fleets")
        replaced = {
            **arm["managed_identity_env"],
            "AZURE_RESOURCE_GROUP": GROUP,
            "AZURE_SUBSCRIPTION_ID": arm["subscription_id"],
            "FLEET_QUEUE_CONNECTION": "",
            "FLEET_QUEUE_CONNECTION__clientId": arm["client_id"],
            "FLEET_QUEUE_CONNECTION__queueServiceUri": storage.queues_url,
            "FLEET_SEALING_KEY": (stack.state_dir / "sealing.key").read_text(),
            "FLEET_VM_IDENTITY": f"{deployed.azure.group}{IDENTITY}",
            "FLEET_VM_ROLE": ROLES["vm"]["name"],
            "POWERLIFT_DB_URI": stack.db_uri,
        }
        stack.app_settings = {**known, **replaced}
        del arm["env"]["AZURE_CLIENT_SECRET"]
        stack.stop_host()
        stack.start_host()
        headers = {"x-functions-key": stack.key}
        found = requests.get(f"{stack.url}/api/health/details", headers=headers, timeout=30).json()
    assert [one for one in found["checks"] if one["status"] != "ok"] == []
