"""The usages of a virtual network's subnets."""

from __future__ import annotations

from typing import Any

from tests.local.azure.driver import GROUP, NETWORK_API, Driver, code, unique


def usages(azure: Driver, subnet: str) -> Any:
    path = f"{subnet.rpartition('/subnets/')[0]}/usages"
    return azure.send("GET", path, api=NETWORK_API).json()


def test_the_limit_excludes_the_five_reserved_addresses(azure: Driver) -> None:
    subnet = azure.make_network(unique("net"), "10.1.0.0/24")

    assert usages(azure, subnet) == {
        "value": [
            {
                "currentValue": 0.0,
                "id": subnet,
                "limit": 251.0,
                "name": {"localizedValue": "Subnet size and usage", "value": "SubnetSpace"},
                "unit": "Count",
            }
        ]
    }


def test_an_interface_uses_an_address(azure: Driver) -> None:
    subnet = azure.make_network(unique("net"), "10.2.0.0/24")
    azure.make_nic(subnet=subnet)

    assert usages(azure, subnet)["value"][0]["currentValue"] == 1.0


def test_a_deleted_interface_releases_its_address(azure: Driver) -> None:
    subnet = azure.make_network(unique("net"), "10.3.0.0/24")
    nic = azure.make_nic(subnet=subnet)
    azure.send("DELETE", nic, api=NETWORK_API)
    azure.wait_until_deleted(nic, NETWORK_API)

    assert usages(azure, subnet)["value"][0]["currentValue"] == 0.0


def test_the_sdk_lists_usages(azure: Driver) -> None:
    name = unique("net")
    azure.make_network(name, "10.4.0.0/28")

    found = list(azure.network().virtual_networks.list_usage(GROUP, name))

    assert [usage.limit for usage in found] == [11.0]


def test_a_missing_network(azure: Driver) -> None:
    path = azure.net("virtualNetworks", "absent")

    answer = azure.send("GET", f"{path}/usages", api=NETWORK_API)

    assert (answer.status_code, code(answer)) == (404, "ResourceNotFound")
