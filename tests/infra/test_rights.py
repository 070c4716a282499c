"""The roles and settings of the template are enough for fleets, and the roles contain nothing spare.

The simulator gives its application exactly these roles, and logs each (scope, action) that Azure would
require. The app has exactly the template's settings, and no secret but those of the vault: it logs in to
Azure, its queue and its database with a managed identity.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from azure.storage.queue import QueueClient, QueueServiceClient

from fleet.model import names
from fleet.store import schema
from local.azurite import Azurite
from local.stack import Stack
from tests.fleet.preflight import azure_inputs as plan
from tests.harness import Api, entra_credential, entra_storage, eventually, experiment
from tests.infra.compiled import SUBSCRIPTION, Example
from tests.infra.deployed_database import VMS, DeployedDatabase
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


def test_images_that_a_region_shows_are_read_in_the_subscription():
    """A gallery of another tenant has no resource group here in which to read."""
    reads = Example("isolated").roles()["planner"]["properties"]["permissions"][0]["actions"]
    prefix = "Microsoft.Compute/locations/communityGalleries/images"
    assert {f"{prefix}/read", f"{prefix}/versions/read"} <= set(reads)
    assert not [action for action in actions("planner") if "Galler" in action]


class Deployment:
    """The simulated subscription, with the example's groups, networks, roles and assignments."""

    def __init__(self, stack: Stack, storage: Azurite, database: DeployedDatabase) -> None:
        self.stack, self.api = stack, Api(stack)
        self.storage, self.database = storage, database
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

    def send(self, request: dict[str, Any]) -> str:
        """Submit by queue with an identity; the host reads it with another. Returns the fleet's ID."""
        arm, fleet = self.stack.arm, names.instance_id(request["batch_id"])
        queue = self.storage.queues_url, "powerlift-fleets", entra_credential(arm)
        with QueueClient(*queue, connection_verify=arm["ca_bundle"]) as client:
            client.send_message(json.dumps(request))
        eventually(lambda: self.api.get(fleet).status_code == 200 or None)
        return fleet

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
        asked = {"experiment_id": experiment(self.stack), "n_instances": 4, "vm_size": SIZE}
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
        request = {**asked, **subnet, "batch_id": ELSEWHERE, "priority": "Spot"}
        second = self.send({**request, "image_id": self.image})
        for fleet in (first, second):
            self.api.wait(fleet, "provisioned", "run")
        log = f"{self.stack.url}/api/fleets/{first}/machines/2/log"
        headers = {"x-functions-key": self.stack.key}
        assert requests.get(log, headers=headers, timeout=30).status_code == 200
        eventually(lambda: self.api.get(second).json()["failures"] or None)
        for fleet in (first, second):
            self.api.end(fleet)
        eventually(lambda: self.is_swept() or None)

    def calls(self) -> list[dict[str, Any]]:
        """The app's requests with the template's rights."""
        made = [one for one in self.stack.wire()[self.began :] if one["principal"] == self.me]
        return [one for one in made if "python-requests" not in one["headers"]["user-agent"]]

    def settings(self) -> dict[str, str]:
        """The template's, as the platform resolves them. Raises KeyError for an unknown reference."""
        arm, stack = self.stack.arm, self.stack
        vault = {
            "sealing-key": (stack.state_dir / "sealing.key").read_text(),
            "database-uri": self.database.uri,
        }
        computed = {
            "AZURE_CLIENT_ID": arm["client_id"],
            "AZURE_RESOURCE_GROUP": GROUP,
            "AZURE_SUBSCRIPTION_ID": arm["subscription_id"],
            "AZURE_TENANT_ID": arm["tenant_id"],
            "AzureWebJobsStorage__clientId": arm["client_id"],
            "FLEET_OWNER": OWNER,
            "FLEET_QUEUE_CONNECTION__clientId": arm["client_id"],
            "FLEET_QUEUE_CONNECTION__queueServiceUri": self.storage.queues_url,
            "FLEET_VM_IDENTITY": f"{self.azure.group}{IDENTITY}",
            "FLEET_VM_ROLE": ROLES["vm"]["name"],
        }
        [config] = EXAMPLE.of("Microsoft.Web/sites/config")
        found = {}
        for name, value in config["properties"].items():
            if name.startswith("APPLICATIONINSIGHTS_"):  # no simulator has it
                continue
            if secret := re.search(r"@Microsoft\.KeyVault\(SecretUri=\{0\}/([a-z-]+)\)", value):
                found[name] = vault[secret[1]]
            elif name in computed:
                found[name] = computed[name]
            else:
                assert not value.startswith("["), f"{name} is computed"
                found[name] = self.here(value)
        return found

    def deploy(self) -> None:
        """Restart the app with these settings, and with what the platform and this machine add."""
        stack = self.stack
        added = {
            **stack.arm["managed_identity_env"],
            "AzureWebJobsStorage": "",  # the stack's own connection strings
            "FLEET_QUEUE_CONNECTION": "",
            "FLEET_SWEEP_SCHEDULE": "* * * * * *",
        }
        stack.app_settings = {**self.settings(), **added}
        whole = stack.arm
        env = {name: one for name, one in whole["env"].items() if name not in SECRETS}
        stack.stop_host()
        stack.arm = {**whole, "env": env}
        stack.start_host()
        stack.arm = whole


SECRETS = ("AZURE_CLIENT_SECRET",)
NETWORKS = "/providers/Microsoft.Network/virtualNetworks"
OWN_SUBNET = f"{NETWORKS}/{names.vnet('eastus')}/subnets/{names.subnet('eastus')}"
EXAMPLE_STORAGE, EXAMPLE_SUBNET = (
    f"{SUBSCRIPTION}/resourceGroups/data/providers/Microsoft.Storage/storageAccounts/results",
    f"{SUBSCRIPTION}/resourceGroups/network/providers/Microsoft.Network/virtualNetworks/hub/subnets/vms",
)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployment after its fleets have ended; a simulated minute takes 0.6 s."""
    state = tmp_path_factory.mktemp("rights")
    with ExitStack() as parts:
        stack = parts.enter_context(Stack(state, time_scale=0.01, machines="none", faults=FAULTS))
        storage = parts.enter_context(entra_storage(stack.arm, state / "entra"))
        account = storage.queues_url, entra_credential(stack.arm)
        with QueueServiceClient(*account, connection_verify=stack.arm["ca_bundle"]) as service:
            for queue in ("powerlift-fleets", "powerlift-fleets-poison"):
                service.create_queue(queue)
        experiment(stack)  # the tables that are granted
        deployment = Deployment(stack, storage, DeployedDatabase(stack))
        deployment.prepare()
        deployment.restrict()
        deployment.deploy()
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
def test_the_app_is_healthy_with_the_templates_settings(deployed: Deployment):
    headers = {"x-functions-key": deployed.stack.key}
    url = f"{deployed.stack.url}/api/health/details"
    found = requests.get(url, headers=headers, timeout=30).json()
    assert [one for one in found["checks"] if one["status"] != "ok"] == []


@pytest.mark.long
def test_the_app_has_no_secret_but_those_of_the_vault(deployed: Deployment):
    environment = Path(f"/proc/{deployed.stack.host_pid}/environ").read_bytes().decode()
    known = {*SECRETS, "AccountKey"}
    assert [one for one in known if one in environment] == []
    assert urlsplit(deployed.database.uri).password is None


@pytest.mark.long
def test_the_vms_have_their_identity_and_rights_in_the_database(deployed: Deployment):
    """The plan grants them what the app's tables need; their interface to Azure is a fleet's PUT."""
    assign = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
    puts = [one for one in deployed.calls() if assign in {act for _, act in one["demanded"]}]
    assert {one["method"] for one in puts} == {"PUT"}
    assert len(puts) >= 8
    assert deployed.database.sql(schema.GRANTS.read_text(), VMS) == []
    granted = "SELECT has_table_privilege(%s, 'powerlift_fleet_machine', 'INSERT')"
    assert deployed.database.sql(granted, VMS) == [(True,)]
