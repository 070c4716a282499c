"""The bytes that the real SDKs send for one fleet, against the shapes of the REST references."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from fleet.model import names
from local.stack import Stack
from tests.harness import Api, existing_resources, experiment, wire

BATCH = 3001
NEWEST = "24.04.202611120"
"""The version that `latest` is, which the plan resolves for all VMs of a fleet."""
SCOPE = "/subscriptions/{s}/resourceGroups/{g}"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Sent:
    """One fleet of one VM, from its request to its teardown, as the simulator logged it."""

    calls: list[dict[str, Any]]
    group: str
    extra: str
    experiment: int
    deadline: str
    left: list[str]

    def one(self, method: str, path: str) -> dict[str, Any]:
        """The one call with this method and end of the path; ignores case, like ARM ids."""
        found = [
            call
            for call in self.calls
            if call["method"] == method and call["path"].lower().endswith(path.lower())
        ]
        assert len(found) == 1, (method, path, [call["path"] for call in found])
        return found[0]


@pytest.fixture(scope="module")
def sent(stack: Stack, api: Api) -> Sent:
    arm = stack.arm
    group = f"/subscriptions/{arm['subscription_id']}/resourceGroups/{arm['resource_group']}"
    extra = f"{group}/providers/Microsoft.Network/virtualNetworks/powerlift-vnet-{arm['location']}"
    number, begin = experiment(stack), len(wire(stack))
    fleet_id = api.start(
        experiment_id=number,
        n_instances=1,
        batch_id=BATCH,
        resource_uris=[extra],
        client_principal_id="aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        vm_size="Standard_D2s_v5",
        zones=["1"],
        tags={"owner": "tests"},
    )
    fleet = api.wait(fleet_id, "provisioned", "run")
    api.end(fleet_id)
    return Sent(
        wire(stack)[begin:],
        group,
        extra,
        number,
        fleet["deadline"],
        existing_resources(stack, BATCH),
    )


def nic_path(sent: Sent) -> str:
    return f"{sent.group}/providers/Microsoft.Network/networkInterfaces/powerlift-nic-{BATCH}-0000"


def vm_path(sent: Sent) -> str:
    return f"{sent.group}/providers/Microsoft.Compute/virtualMachines/powerlift-vm-{BATCH}-0000"


def tags(sent: Sent) -> dict[str, str]:
    return {
        "owner": "tests",
        "powerlift-batch": str(BATCH),
        "powerlift-experiment": str(sent.experiment),
        "powerlift-runner": str(names.runner_id(BATCH, 0)),
        "powerlift-deadline": sent.deadline,
        "powerlift-owner": owner(sent),
    }


def owner(sent: Sent) -> str:
    return str(sent.one("PUT", nic_path(sent))["body"]["tags"]["powerlift-owner"])


def test_the_owner_is_the_setting_with_the_deployment_and_its_task_hub(sent: Sent):
    assert re.fullmatch("tests/key-[0-9a-f]{12}/PowerliftFleet", owner(sent))


def network_puts(stack: Stack, kind: str, name: str) -> list[Any]:
    """The bodies of PUTs; the network outlives its fleets, so the first one has created it."""
    path = f"/{kind}/{name}"
    return [c["body"] for c in wire(stack) if c["method"] == "PUT" and c["path"].endswith(path)]


def test_the_network_is_one_put_with_explicit_outbound_access(stack: Stack, sent: Sent):
    location = stack.arm["location"]
    group = (
        f"{sent.group}/providers/Microsoft.Network/networkSecurityGroups/powerlift-nsg-{location}"
    )
    assert network_puts(stack, "virtualNetworks", f"powerlift-vnet-{location}") == [
        {
            "location": location,
            "properties": {
                "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
                "subnets": [
                    {
                        "name": f"powerlift-subnet-{location}",
                        "properties": {
                            "addressPrefix": "10.0.0.0/17",
                            "defaultOutboundAccess": True,
                            "networkSecurityGroup": {"id": group},
                        },
                    }
                ],
            },
        }
    ]


def test_the_security_group_denies_all_inbound_traffic(stack: Stack, sent: Sent):
    location = stack.arm["location"]
    rule = {
        "protocol": "*",
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "*",
        "access": "Deny",
        "direction": "Inbound",
        "priority": 4096,
    }
    assert network_puts(stack, "networkSecurityGroups", f"powerlift-nsg-{location}") == [
        {
            "location": location,
            "properties": {"securityRules": [{"name": "DenyInbound", "properties": rule}]},
        }
    ]


def test_the_nic(stack: Stack, sent: Sent):
    subnet = f"{sent.extra}/subnets/powerlift-subnet-{stack.arm['location']}"
    assert sent.one("PUT", nic_path(sent))["body"] == {
        "location": stack.arm["location"],
        "tags": tags(sent),
        "properties": {
            "ipConfigurations": [{"name": "ipconfig", "properties": {"subnet": {"id": subnet}}}]
        },
    }


def test_the_vm(stack: Stack, sent: Sent):
    body = sent.one("PUT", vm_path(sent))["body"]
    profile = body["properties"]["osProfile"]
    key = profile["linuxConfiguration"]["ssh"]["publicKeys"][0].pop("keyData")
    data = profile.pop("customData")
    assert key.startswith("ssh-rsa ")
    assert data.startswith("<redacted")
    assert body == {
        "location": stack.arm["location"],
        "zones": ["1"],
        "tags": tags(sent),
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "storageProfile": {
                "imageReference": {
                    "publisher": "canonical",
                    "offer": "ubuntu-24_04-lts",
                    "sku": "server",
                    "version": NEWEST,
                },
                "osDisk": {
                    "name": f"powerlift-vm-{BATCH}-0000_osdisk",
                    "createOption": "FromImage",
                    "deleteOption": "Delete",
                    "managedDisk": {"storageAccountType": "Standard_LRS"},
                },
            },
            "osProfile": {
                "computerName": f"powerlift-vm-{BATCH}-0000",
                "adminUsername": "azureuser",
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "ssh": {"publicKeys": [{"path": "/home/azureuser/.ssh/authorized_keys"}]},
                },
            },
            "networkProfile": {
                "networkInterfaces": [
                    {
                        "id": nic_path(sent),
                        "properties": {"primary": True, "deleteOption": "Delete"},
                    }
                ]
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        },
    }


def assignments(sent: Sent) -> list[tuple[str, dict[str, Any]]]:
    marker = "/providers/Microsoft.Authorization/roleAssignments/"
    return [
        (call["path"].partition(marker)[0], call["body"]["properties"])
        for call in sent.calls
        if call["method"] == "PUT" and marker in call["path"]
    ]


def test_the_role_assignments_are_the_vms_at_itself_and_the_uri_and_the_clients(sent: Sent):
    shapes = {(scope, body["principalType"]) for scope, body in assignments(sent)}
    assert shapes == {
        (vm_path(sent), "ServicePrincipal"),
        (sent.extra, "ServicePrincipal"),
        (vm_path(sent), "User"),
    }


def test_a_role_assignment_names_contributor_and_a_principal(stack: Stack, sent: Sent):
    role = (
        f"/subscriptions/{stack.arm['subscription_id']}/providers/Microsoft.Authorization"
        "/roleDefinitions/b24988ac-6180-42a0-ab88-20f7382dd24c"
    )
    for _, body in assignments(sent):
        assert set(body) == {"roleDefinitionId", "principalId", "principalType", "description"}
        assert body["roleDefinitionId"] == role
        assert GUID.fullmatch(body["principalId"])


def test_a_role_assignment_names_its_owner_and_vm(sent: Sent):
    about = f"{owner(sent)}: batch {BATCH} until {sent.deadline}"
    descriptions = {body["description"] for _, body in assignments(sent)}
    assert descriptions == {f"Powerlift Fleet {about}, VM {vm_path(sent)}"}


def test_the_vm_is_force_deleted_and_nothing_is_left(sent: Sent):
    assert sent.one("DELETE", vm_path(sent))["query"]["forceDeletion"] == "true"
    assert sent.left == []


def test_no_request_was_rejected(sent: Sent):
    refused = [(c["method"], c["path"], c["status"]) for c in sent.calls if c["status"] >= 400]
    # 404: GET before the first PUT. 400: an identity that has not been replicated yet.
    assert [one for one in refused if one[2] not in (404, 400)] == []


def test_every_call_names_its_api_version(sent: Sent):
    arm = [call for call in sent.calls if call["path"].startswith("/subscriptions/")]
    assert [call for call in arm if "api-version" not in call["query"]] == []
