"""Network security groups, and the subnets that use them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.local.azure.driver import GROUP, NETWORK_API, Driver, code, unique, with_change


def _rule(name: str = "deny", **changes: Any) -> dict[str, Any]:
    usual = {
        "protocol": "*", "access": "Deny", "direction": "Inbound", "priority": 4096,
        "sourceAddressPrefix": "*", "sourcePortRange": "*",
        "destinationAddressPrefix": "*", "destinationPortRange": "*",
    }  # fmt: skip
    return {"name": name, "properties": {**usual, **changes}}


def _without(member: str) -> dict[str, Any]:
    return with_change(_rule(), member, None)


def _group(*rules: dict[str, Any], location: str = "eastus") -> dict[str, Any]:
    return {"location": location, "properties": {"securityRules": list(rules)}}


@pytest.fixture
def group(azure: Driver) -> str:
    path = azure.net("networkSecurityGroups", unique("nsg"))
    assert azure.send("PUT", path, _group(_rule()), api=NETWORK_API).status_code == 201
    azure.settled(path, NETWORK_API)
    return path


def test_the_sdk_creates_a_group_with_its_rules_and_the_default_rules(azure: Driver) -> None:
    groups = azure.network().network_security_groups

    made = groups.begin_create_or_update(GROUP, unique("nsg"), _group(_rule())).result()

    assert [(one.name, one.provisioning_state) for one in made.security_rules] == [
        ("deny", "Succeeded")
    ]
    inbound = [one for one in made.default_security_rules if one.direction == "Inbound"]
    assert [(one.name, one.priority) for one in inbound] == [
        ("AllowVnetInBound", 65000),
        ("AllowAzureLoadBalancerInBound", 65001),
        ("DenyAllInBound", 65500),
    ]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([_rule(priority=99)], "SecurityRuleInvalidPriority"),
        ([_rule(priority=4097)], "SecurityRuleInvalidPriority"),
        ([_rule("a"), _rule("b")], "SecurityRuleConflict"),
        ([_rule("a"), _rule("a", priority=4000)], "SecurityRuleConflict"),
        ([_rule(protocol="Any")], "InvalidParameter"),
        ([_without("properties.access")], "InvalidParameter"),
        ([_without("properties.priority")], "InvalidParameter"),
        ([_without("name")], "InvalidParameter"),
        ([_without("properties.sourceAddressPrefix")], "SecurityRuleParametersMissing"),
        ([_without("properties.destinationPortRange")], "SecurityRuleParametersMissing"),
    ],
)
def test_group_is_rejected(azure: Driver, rules: list[Any], expected: str) -> None:
    path = azure.net("networkSecurityGroups", unique("nsg"))

    answer = azure.send("PUT", path, _group(*rules), api=NETWORK_API)

    assert (answer.status_code, code(answer)) == (400, expected)


def test_priorities_are_unique_in_one_direction_only(azure: Driver) -> None:
    path = azure.net("networkSecurityGroups", unique("nsg"))
    rules = _rule("a"), _rule("b", direction="Outbound")

    assert azure.send("PUT", path, _group(*rules), api=NETWORK_API).status_code == 201


def test_group_requires_a_location(azure: Driver) -> None:
    path = azure.net("networkSecurityGroups", unique("nsg"))

    answer = azure.send("PUT", path, {"properties": {}}, api=NETWORK_API)

    assert code(answer) == "LocationRequired"


def _network(group: str, location: str = "eastus") -> dict[str, Any]:
    properties = {"addressPrefix": "10.7.0.0/24", "networkSecurityGroup": {"id": group}}
    return {
        "location": location,
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.7.0.0/16"]},
            "subnets": [{"name": "s", "properties": properties}],
        },
    }


@pytest.mark.parametrize(("name", "location"), [("absent", "eastus"), (None, "westus")])
def test_subnet_refers_to_an_existing_group_in_its_region(
    azure: Driver, group: str, name: str | None, location: str
) -> None:
    wanted = azure.net("networkSecurityGroups", name) if name else group
    path = azure.net("virtualNetworks", unique("v"))

    answer = azure.send("PUT", path, _network(wanted, location), api=NETWORK_API)

    assert code(answer) == "InvalidResourceReference"


def test_group_of_a_subnet_cannot_be_deleted(azure: Driver, group: str) -> None:
    network = azure.net("virtualNetworks", unique("v"))
    azure.send("PUT", network, _network(group), api=NETWORK_API)

    refused = azure.send("DELETE", group, api=NETWORK_API)
    azure.settled(network, NETWORK_API)
    azure.send("DELETE", network, api=NETWORK_API)
    azure.wait_until_deleted(network, NETWORK_API)

    assert code(refused) == "InUseNetworkSecurityGroupCannotBeDeleted"
    assert azure.send("DELETE", group, api=NETWORK_API).status_code == 202


def test_subnet_with_another_etag_is_not_changed(azure: Driver, group: str) -> None:
    subnet = azure.make_network(unique("v"), "10.7.0.0/24")
    before = azure.send("GET", subnet, api=NETWORK_API).json()
    body = with_change(before, "properties.networkSecurityGroup", {"id": group})
    stale = {"If-Match": 'W/"stale"'}

    refused = azure.send("PUT", subnet, body, api=NETWORK_API, headers=stale)
    changed = azure.send("PUT", subnet, body, api=NETWORK_API, headers={"If-Match": before["etag"]})

    assert (refused.status_code, changed.status_code) == (412, 200)
    assert changed.json()["properties"]["networkSecurityGroup"] == {"id": group}
