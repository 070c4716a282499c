"""Virtual networks, subnets, network interfaces, and NAT gateways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.local.azure.driver import GROUP, NETWORK_API, Driver, code, serve, unique, until

OLD = "2022-05-01"


def _space(prefix: str, **more: Any) -> dict[str, Any]:
    return {
        "location": "eastus",
        "properties": {"addressSpace": {"addressPrefixes": [prefix]}, **more},
    }


def test_sdk_creates_a_network_and_waits_for_it(azure: Driver) -> None:
    body = _space("10.9.0.0/16")

    network = azure.network().virtual_networks.begin_create_or_update(GROUP, unique("v"), body)

    assert network.result().provisioning_state == "Succeeded"


def test_network_put_responds_before_it_succeeds(azure: Driver) -> None:
    path = azure.net("virtualNetworks", unique("v"))

    answer = azure.send("PUT", path, _space("10.9.0.0/16"), api=NETWORK_API)

    assert answer.json()["properties"]["provisioningState"] == "Updating"
    assert answer.headers["Retry-After"] == "1"
    assert (
        "/providers/Microsoft.Network/locations/eastus/operations/"
        in (answer.headers["Azure-AsyncOperation"])
    )


@pytest.mark.parametrize(("api", "expected"), [(NETWORK_API, False), (OLD, None)])
def test_new_subnets_are_private_in_new_api_versions(
    azure: Driver, api: str, expected: bool | None
) -> None:
    subnet = {"name": "s", "properties": {"addressPrefix": "10.9.0.0/24"}}
    path = azure.net("virtualNetworks", unique("v"))

    answer = azure.send("PUT", path, _space("10.9.0.0/16", subnets=[subnet]), api=api)

    made = answer.json()["properties"]["subnets"][0]["properties"]
    assert made.get("defaultOutboundAccess") == expected


@pytest.mark.parametrize(("api", "kept"), [(NETWORK_API, 1), (OLD, 0)])
def test_network_put_without_subnets(azure: Driver, api: str, kept: int) -> None:
    name = unique("v")
    azure.make_network(name, "10.9.0.0/16")
    path = azure.net("virtualNetworks", name)

    answer = azure.send("PUT", path, _space("10.9.0.0/16"), api=api)

    assert len(answer.json()["properties"]["subnets"]) == kept


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("10.8.0.0/24", "NetcfgInvalidSubnet"),
        ("10.9.0.0/17", "NetcfgSubnetRangesOverlap"),
        ("10.9.0.1/24", "InvalidAddressPrefixFormat"),
    ],
)
def test_subnet_that_does_not_fit(azure: Driver, prefix: str, expected: str) -> None:
    name = unique("v")
    azure.make_network(name, "10.9.0.0/16")
    body = {"properties": {"addressPrefix": prefix}}

    answer = azure.send("PUT", azure.net("virtualNetworks", f"{name}/subnets/t"), body)

    assert code(answer) == expected


def test_subnet_while_its_network_changes(azure: Driver) -> None:
    def refused() -> tuple[int, str] | None:
        """The refusal of the second PUT; None if the first operation was over before it arrived."""
        path = azure.net("virtualNetworks", unique("v"))
        azure.send("PUT", path, _space("10.9.0.0/16"), api=NETWORK_API)
        body = {"properties": {"addressPrefix": "10.9.0.0/24"}}
        answer = azure.send("PUT", f"{path}/subnets/s", body, api=NETWORK_API)
        return (answer.status_code, code(answer)) if answer.status_code >= 400 else None

    assert until(refused) == (429, "RetryableErrorDueToAnotherOperation")


def test_interface_gets_the_first_free_address(azure: Driver) -> None:
    subnet = azure.make_network(unique("v"), "10.7.0.0/24")
    body = azure.nic_body(subnet)

    answer = azure.send("PUT", azure.net("networkInterfaces", unique("nic")), body, api=NETWORK_API)

    properties = answer.json()["properties"]
    assert properties["ipConfigurations"][0]["properties"]["privateIPAddress"] == "10.7.0.4"
    assert properties["provisioningState"] == "Succeeded"


def test_interface_put_has_no_retry_after(azure: Driver) -> None:
    body = azure.nic_body(azure.subnet())

    answer = azure.send("PUT", azure.net("networkInterfaces", unique("nic")), body, api=NETWORK_API)
    status = azure.send("GET", answer.headers["Azure-AsyncOperation"])

    assert "Retry-After" not in answer.headers
    assert status.json() == {"status": "Succeeded"}


def test_repeated_interface_put_keeps_the_address(azure: Driver) -> None:
    nic = azure.make_nic()
    before = azure.send("GET", nic).json()

    answer = azure.send("PUT", nic, azure.nic_body(azure.subnet()), api=NETWORK_API)

    assert answer.status_code == 200
    assert (
        answer.json()["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
        == before["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
    )


def test_subnet_fills_up(azure: Driver) -> None:
    subnet = azure.make_network(unique("v"), "10.7.0.0/29")
    for _ in range(3):
        azure.make_nic(subnet=subnet)

    answer = azure.send("PUT", azure.net("networkInterfaces", "full"), azure.nic_body(subnet))

    assert code(answer) == "SubnetIsFull"


def test_interface_requires_an_existing_subnet(azure: Driver) -> None:
    body = azure.nic_body(f"{azure.subnet()}-absent")

    answer = azure.send("PUT", azure.net("networkInterfaces", "x"), body, api=NETWORK_API)

    assert (answer.status_code, code(answer)) == (400, "InvalidResourceReference")


def test_interface_cannot_use_a_subnet_being_created(azure: Driver) -> None:
    subnet = {"name": "s", "properties": {"addressPrefix": "10.9.0.0/24"}}

    def refusal() -> Any:
        """None if the subnet was complete before the next request, as on a busy machine."""
        path = azure.net("virtualNetworks", unique("v"))
        azure.send("PUT", path, _space("10.9.0.0/16", subnets=[subnet]), api=NETWORK_API)
        nic = azure.net("networkInterfaces", unique("n"))
        answer = azure.send("PUT", nic, azure.nic_body(f"{path}/subnets/s"))
        return answer.json() if answer.status_code == 429 else None

    assert until(refusal)["error"]["details"][0]["code"] == "ReferencedResourceNotProvisioned"


def test_subnet_in_use_cannot_be_deleted(azure: Driver) -> None:
    subnet = azure.make_network(unique("v"), "10.7.0.0/24")
    azure.make_nic(subnet=subnet)

    assert code(azure.send("DELETE", subnet)) == "InUseSubnetCannotBeDeleted"


def test_deleted_interface_frees_its_subnet(azure: Driver) -> None:
    subnet = azure.make_network(unique("v"), "10.7.0.0/24")
    nic = azure.make_nic(subnet=subnet)

    answer = azure.send("DELETE", nic)
    azure.wait_until_deleted(nic)

    assert answer.status_code == 202
    assert azure.send("DELETE", subnet).status_code == 202


def test_delete_returns_the_url_of_its_result(azure: Driver) -> None:
    answer = azure.send("DELETE", azure.make_nic())

    result = until(lambda: azure.send("GET", answer.headers["Location"]).status_code == 204)

    assert result


def test_delete_of_a_missing_interface(azure: Driver) -> None:
    assert azure.send("DELETE", azure.net("networkInterfaces", "absent")).status_code == 204


def test_nat_gateway_of_a_private_subnet_cannot_be_deleted(azure: Driver) -> None:
    address, gateway = azure.net("publicIPAddresses", "ip"), azure.net("natGateways", "nat")
    standard = {"location": "eastus", "sku": {"name": "Standard"}}
    azure.send("PUT", address, {**standard, "properties": {"publicIPAllocationMethod": "Static"}})
    properties = {"publicIpAddresses": [{"id": address}]}
    azure.send("PUT", gateway, {**standard, "properties": properties})
    azure.settled(gateway)
    azure.make_network(
        unique("v"), "10.6.0.0/24", defaultOutboundAccess=False, natGateway={"id": gateway}
    )

    answer = azure.send("DELETE", gateway)

    assert azure.network().public_ip_addresses.get(GROUP, "ip").ip_address
    assert code(answer) == "InUseNatGatewayCannotBeDeleted"


def test_if_none_match(azure: Driver) -> None:
    nic = azure.make_nic()

    answer = azure.send("PUT", nic, azure.nic_body(azure.subnet()), headers={"If-None-Match": "*"})

    assert answer.status_code == 412


def test_networks_survive_a_restart_and_vms_do_not(tmp_path: Path) -> None:
    service, azure = serve(tmp_path, "--machines", "none")
    subnet = azure.make_network("kept", "10.8.0.0/16")
    azure.make_nic(subnet=subnet)
    service.stop()

    service, azure = serve(tmp_path, "--machines", "none")
    found = azure.send("GET", subnet, api=NETWORK_API).json()["properties"]
    nics = azure.send("GET", azure.net("networkInterfaces"), api=NETWORK_API).json()["value"]
    usable = azure.make_nic(subnet=subnet)
    service.stop()

    assert (found["addressPrefix"], found["provisioningState"]) == ("10.8.0.0/16", "Succeeded")
    assert (found.get("ipConfigurations"), nics, bool(usable)) == (None, [], True)
