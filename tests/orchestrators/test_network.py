"""How a fleet changes an existing network, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model import names
from local.stack import Stack
from tests.harness import Api, experiment, wire
from tests.local.azure.driver import NETWORK_API, Driver, unique

LOCATION = "uksouth"  # used by no other test on this stack
SUBNET = {
    "addressPrefix": "10.0.0.0/18",
    "defaultOutboundAccess": True,
    "privateEndpointNetworkPolicies": "Enabled",
    "serviceEndpoints": [{"service": "Microsoft.Storage"}],
}
"""As an earlier version of the app made it, and an administrator changed it."""


@pytest.fixture(scope="module")
def driver(stack: Stack) -> Driver:
    return Driver(stack.arm, stack.state_dir / "azure")


def put(driver: Driver, path: str, body: dict[str, Any]) -> None:
    assert driver.send("PUT", path, body, api=NETWORK_API).status_code == 201
    driver.settled(path, NETWORK_API)


def puts(stack: Stack, since: int = 0) -> list[str]:
    """The names of networks, subnets and security groups that were put."""
    kinds = ("virtualNetworks", "subnets", "networkSecurityGroups")
    return [
        call["path"].rpartition("/")[2]
        for call in wire(stack)[since:]
        if call["method"] == "PUT" and call["path"].split("/")[-2] in kinds
    ]


def run(api: Api, stack: Stack, batch: int, location: str = LOCATION, **document: Any) -> None:
    """A fleet that is cancelled once its VM runs."""
    number = experiment(stack)
    fleet_id = api.start(
        experiment_id=number, n_instances=1, batch_id=batch, location=location, **document
    )
    api.wait(fleet_id, "run")
    api.end(fleet_id)


@pytest.fixture(scope="module")
def attached(stack: Stack, api: Api, driver: Driver) -> tuple[list[str], dict[str, Any]]:
    """The PUTs of two fleets in a network without a security group, and its subnets afterwards."""
    network = driver.net("virtualNetworks", names.vnet(LOCATION))
    space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}
    mine = {"name": names.subnet(LOCATION), "properties": SUBNET}
    theirs = {"name": "theirs", "properties": {"addressPrefix": "10.0.64.0/24"}}
    body = {"location": LOCATION, "properties": {**space, "subnets": [mine, theirs]}}
    put(driver, network, body)
    begin = len(wire(stack))
    for batch in (3811, 3812):
        run(api, stack, batch)
    shown = driver.send("GET", network, api=NETWORK_API).json()
    return puts(stack, begin), {
        one["name"]: one["properties"] for one in shown["properties"]["subnets"]
    }


def test_a_network_without_a_security_group_gets_exactly_one(attached: Any):
    assert attached[0] == [names.security_group(LOCATION), names.subnet(LOCATION)]


def test_a_subnet_keeps_its_other_properties(driver: Driver, attached: Any):
    group = driver.net("networkSecurityGroups", names.security_group(LOCATION))
    subnet = attached[1][names.subnet(LOCATION)]
    assert {**subnet, **SUBNET, "networkSecurityGroup": {"id": group}} == subnet


def test_other_subnets_are_left_alone(attached: Any):
    assert "networkSecurityGroup" not in attached[1]["theirs"]


@pytest.mark.long
def test_a_subnet_of_the_user_is_left_alone(stack: Stack, api: Api, driver: Driver):
    network = driver.net("virtualNetworks", unique("own"))
    subnet = {
        "name": "s",
        "properties": {"addressPrefix": "10.9.0.0/24", "defaultOutboundAccess": True},
    }
    space = {"addressSpace": {"addressPrefixes": ["10.9.0.0/16"]}}
    put(driver, network, {"location": LOCATION, "properties": {**space, "subnets": [subnet]}})
    begin = len(wire(stack))
    run(api, stack, 3813, subnet_id=f"{network}/subnets/s", outbound="existing")
    assert puts(stack, begin) == []


@pytest.mark.long
def test_an_administrators_rules_are_left_alone(stack: Stack, api: Api, driver: Driver):
    location = "northeurope"
    group = driver.net("networkSecurityGroups", names.security_group(location))
    rule = {
        "protocol": "Tcp", "access": "Allow", "direction": "Inbound", "priority": 100,
        "sourceAddressPrefix": "10.0.0.4", "sourcePortRange": "*",
        "destinationAddressPrefix": "*", "destinationPortRange": "22",
    }  # fmt: skip
    rules = {"securityRules": [{"name": "bastion", "properties": rule}]}
    put(driver, group, {"location": location, "properties": rules})
    run(api, stack, 3814, location)
    shown = driver.send("GET", group, api=NETWORK_API).json()["properties"]["securityRules"]
    assert [one["name"] for one in shown] == ["bastion"]
