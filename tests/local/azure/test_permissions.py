"""The permissions API."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.local.azure.driver import (
    GROUP,
    NETWORK_API,
    ROLE_API,
    Driver,
    code,
    serve,
    unique,
    until,
)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A simulator with an application that is only Contributor of its resource group."""
    service, driver = serve(tmp_path_factory.mktemp("limited"), "--machines", "none")
    me = driver.ready["client_object_id"]
    (owner,) = assignments(driver)
    assert driver.put_role(driver.group, me).status_code == 201
    until(lambda: len(permissions(driver, driver.group)) == 2)
    assert driver.send("DELETE", owner["id"], api=ROLE_API).status_code == 200
    yield driver
    service.stop()


def permissions(azure: Driver, scope: str) -> list[dict[str, Any]]:
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    return list(azure.send("GET", path, api=ROLE_API).json()["value"])


def assignments(azure: Driver) -> list[dict[str, Any]]:
    path = f"{azure.subscription}/providers/Microsoft.Authorization/roleAssignments"
    return list(azure.send("GET", path, api=ROLE_API).json()["value"])


def test_the_owner_may_do_everything(azure: Driver) -> None:
    assert permissions(azure, azure.group) == [
        {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []}
    ]


def test_the_sdk_lists_the_permissions_of_a_group(limited: Driver) -> None:
    found = list(limited.authorization().permissions.list_for_resource_group(GROUP))

    assert [one.not_actions for one in found] == [
        [
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ]
    ]


def test_a_role_applies_below_its_scope(limited: Driver) -> None:
    assert len(permissions(limited, limited.make_nic())) == 1


def test_a_role_applies_to_a_resource_of_another_provider(limited: Driver) -> None:
    storage = f"{limited.group}/providers/Microsoft.Storage/storageAccounts/one"

    assert len(permissions(limited, storage)) == 1


def test_a_role_does_not_apply_above_its_scope(limited: Driver) -> None:
    path = f"{limited.subscription}/providers/Microsoft.Authorization/permissions"

    answer = limited.send("GET", path, api=ROLE_API)

    assert (answer.status_code, code(answer)) == (403, "AuthorizationFailed")


def test_other_actions_are_rejected(limited: Driver) -> None:
    answer = limited.put_role(limited.group, limited.ready["client_object_id"])

    assert (answer.status_code, code(answer)) == (403, "AuthorizationFailed")


# Linked access: a PUT requires actions on what its body refers to

JOINER = (
    "Microsoft.Compute/disks/write",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/virtualNetworks/subnets/write",
)
JOIN_SUBNET = "Microsoft.Network/virtualNetworks/subnets/join/action"
IDENTITY = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"


@dataclass(frozen=True)
class Joiner:
    """An application that may write resources, and join one subnet only."""

    azure: Driver
    subnet: str
    nic: str

    def put(self, path: str, body: dict[str, Any]) -> requests.Response:
        return self.azure.send("PUT", path, body, api=NETWORK_API)

    def vm(self, **changes: Any) -> requests.Response:
        body = {**self.azure.vm_body(self.nic), **changes}
        return self.azure.send("PUT", self.azure.vm_path(unique("vm")), body)


@pytest.fixture(scope="module")
def joiner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joiner]:
    service, azure = serve(tmp_path_factory.mktemp("joiner"), "--machines", "none")
    (owner,) = assignments(azure)
    me = azure.ready["client_object_id"]
    subnet, nic = azure.make_network("joined", "10.1.0.0/16"), azure.make_nic()
    for scope, actions in ((azure.group, JOINER), (subnet, (JOIN_SUBNET,))):
        role = str(uuid.uuid4())
        assert azure.put_role_definition(role, *actions).status_code == 201
        azure.grant(scope, me, role)
    until(lambda: len(permissions(azure, subnet)) == 3)
    assert azure.send("DELETE", owner["id"], api=ROLE_API).status_code == 200
    yield Joiner(azure, subnet, nic)
    service.stop()


def missing(answer: requests.Response) -> tuple[int, str, str]:
    """Status and code of a rejection, and the action that its message names."""
    message = answer.json()["error"]["message"]
    return answer.status_code, code(answer), message.rpartition("action '")[2].partition("'")[0]


def rejected(action: str) -> tuple[int, str, str]:
    return 403, "LinkedAuthorizationFailed", action


def test_an_interface_may_join_a_subnet_with_the_permission(joiner: Joiner) -> None:
    azure = joiner.azure
    path = azure.net("networkInterfaces", unique("nic"))
    assert joiner.put(path, azure.nic_body(joiner.subnet)).status_code == 201


def test_an_interface_may_not_join_another_subnet(joiner: Joiner) -> None:
    azure = joiner.azure
    path = azure.net("networkInterfaces", unique("nic"))
    answer = joiner.put(path, azure.nic_body(azure.net("virtualNetworks", "shared/subnets/s")))
    assert missing(answer) == rejected(JOIN_SUBNET)


@pytest.mark.parametrize(
    ("member", "kind"),
    [("networkSecurityGroup", "networkSecurityGroups"), ("natGateway", "natGateways")],
)
def test_a_subnet_may_not_join_a_resource(joiner: Joiner, member: str, kind: str) -> None:
    linked = {member: {"id": joiner.azure.net(kind, "one")}}
    answer = joiner.put(joiner.subnet, {"properties": {"addressPrefix": "10.1.0.0/16", **linked}})
    assert missing(answer) == rejected(f"Microsoft.Network/{kind}/join/action")


def test_a_vm_may_not_join_an_interface(joiner: Joiner) -> None:
    action = "Microsoft.Network/networkInterfaces/join/action"
    assert missing(joiner.vm()) == rejected(action)


def test_a_vm_may_not_be_assigned_an_identity(joiner: Joiner) -> None:
    kind = {"type": "UserAssigned"}
    given = {**kind, "userAssignedIdentities": {f"{joiner.azure.group}{IDENTITY}": {}}}
    answer = joiner.vm(identity=given)
    action = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
    assert missing(answer) == rejected(action)


GALLERY = "/providers/Microsoft.Compute/galleries/g"


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (f"{GALLERY}/images/i/versions/1.0.0", "galleries/images/versions"),
        (f"{GALLERY}/images/i", "galleries/images"),
        ("/providers/Microsoft.Compute/images/i", "images"),
    ],
)
def test_a_vm_may_not_boot_an_image(joiner: Joiner, image: str, kind: str) -> None:
    body = joiner.azure.vm_body("/nic")
    body["properties"]["storageProfile"]["imageReference"] = {"id": f"{joiner.azure.group}{image}"}
    answer = joiner.azure.send("PUT", joiner.azure.vm_path(unique("vm")), body)
    assert missing(answer) == rejected(f"Microsoft.Compute/{kind}/read")
