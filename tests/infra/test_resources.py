"""What the template creates: networks that the app takes as its own, and nothing with keys."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.azure import arm_bodies
from fleet.model import names
from tests.infra.compiled import Example

EXAMPLES = {name: Example(name) for name in ("existing-database", "isolated")}
REGIONS = {"existing-database": ["eastus"], "isolated": ["westeurope", "northeurope"]}


def resource(example: str, type_: str, name: str) -> dict[str, Any]:
    [found] = [one for one in EXAMPLES[example].of(type_) if one["name"] == name]
    return found


CASES = [(example, region) for example, regions in REGIONS.items() for region in regions]


@pytest.mark.parametrize(("example", "region"), CASES)
def test_the_app_finds_its_subnet_in_each_region(example: str, region: str):
    network = resource(example, "Microsoft.Network/virtualNetworks", names.vnet(region))
    [subnet] = network["properties"]["subnets"]
    assert (network["location"], subnet["name"]) == (region, names.subnet(region))
    assert subnet["properties"]["defaultOutboundAccess"] is False
    assert {"natGateway", "networkSecurityGroup"} <= set(subnet["properties"])


@pytest.mark.parametrize(("example", "region"), CASES)
def test_its_security_group_is_the_apps(example: str, region: str):
    type_ = "Microsoft.Network/networkSecurityGroups"
    group = resource(example, type_, names.security_group(region))
    expected = arm_bodies.security_group(region)
    assert {name: group[name] for name in expected} == expected


def test_networks_do_not_overlap():
    networks = EXAMPLES["isolated"].of("Microsoft.Network/virtualNetworks")
    ranges = [one["properties"]["addressSpace"]["addressPrefixes"] for one in networks]
    assert sorted(ranges) == [["10.0.0.0/16"], ["10.1.0.0/16"], ["10.200.0.0/23"]]


@pytest.mark.parametrize(
    ("type_", "path", "value"),
    [
        ("Microsoft.Storage/storageAccounts", "allowSharedKeyAccess", False),
        ("Microsoft.Storage/storageAccounts", "allowBlobPublicAccess", False),
        ("Microsoft.KeyVault/vaults", "enableRbacAuthorization", True),
        ("Microsoft.Insights/components", "DisableLocalAuth", True),
        ("Microsoft.DBforPostgreSQL/flexibleServers", "authConfig.passwordAuth", "Disabled"),
        ("Microsoft.Web/sites", "httpsOnly", True),
        ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "allow", False),
    ],
)
@pytest.mark.parametrize("example", EXAMPLES)
def test_nothing_has_a_key_or_password(example: str, type_: str, path: str, value: object):
    found = EXAMPLES[example].of(type_)
    for one in found:
        here = one["properties"]
        for member in path.split("."):
            here = here[member]
        assert here == value
    assert found or example == "existing-database"  # which has no server


@pytest.mark.parametrize(
    "type_",
    [
        "Microsoft.Storage/storageAccounts",
        "Microsoft.KeyVault/vaults",
        "Microsoft.DBforPostgreSQL/flexibleServers",
    ],
)
def test_an_isolated_deployment_has_no_public_data(type_: str):
    found = EXAMPLES["isolated"].of(type_)
    access = {
        (one["properties"].get("network") or one["properties"])["publicNetworkAccess"]
        for one in found
    }
    assert access == {"Disabled"}


def test_both_queues_are_created():
    """The Functions host does not create the queue of a trigger."""
    queues = EXAMPLES["isolated"].of("Microsoft.Storage/storageAccounts/queueServices/queues")
    created = {one["name"].rpartition("/")[2] for one in queues}
    assert created == {"powerlift-fleets", "powerlift-fleets-poison"}
