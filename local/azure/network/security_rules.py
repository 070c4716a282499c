"""The rules of network security groups: validation, and the default rules of every group."""

from __future__ import annotations

from typing import Any

from local.azure.arm.errors import ArmError, missing_parameter
from local.azure.arm.resources import Json

_TYPE = "Microsoft.Network/networkSecurityGroups"
_PRIORITIES = range(100, 4097)
_REQUIRED = {
    "SourcePortRanges or SourcePortRange": ("sourcePortRange", "sourcePortRanges"),
    "DestinationPortRanges or DestinationPortRange": (
        "destinationPortRange",
        "destinationPortRanges",
    ),
    "SourceAddressPrefixes, SourceAddressPrefix, or SourceApplicationSecurityGroups": (
        "sourceAddressPrefix",
        "sourceAddressPrefixes",
        "sourceApplicationSecurityGroups",
    ),
    "DestinationAddressPrefixes, DestinationAddressPrefix, or DestinationApplicationSecurityGroups": (
        "destinationAddressPrefix",
        "destinationAddressPrefixes",
        "destinationApplicationSecurityGroups",
    ),
}
"""What a rule must specify -> the members of which one must be there."""

# "Network security groups overview", default security rules: these cannot be removed, only overridden.
_DEFAULTS = (
    ("AllowVnetInBound", "Inbound", 65000, "Allow", "VirtualNetwork", "VirtualNetwork"),
    ("AllowAzureLoadBalancerInBound", "Inbound", 65001, "Allow", "AzureLoadBalancer", "*"),
    ("DenyAllInBound", "Inbound", 65500, "Deny", "*", "*"),
    ("AllowVnetOutBound", "Outbound", 65000, "Allow", "VirtualNetwork", "VirtualNetwork"),
    ("AllowInternetOutBound", "Outbound", 65001, "Allow", "*", "Internet"),
    ("DenyAllOutBound", "Outbound", 65500, "Deny", "*", "*"),
)


def checked_rules(group_id: str, rules: list[Json]) -> list[Json]:
    """The rules as a GET returns them. Raises ArmError 400 for rules that Azure rejects."""
    taken: dict[tuple[str, int], str] = {}
    for at, rule in enumerate(rules):
        if not rule.get("name"):
            raise missing_parameter(f"properties.securityRules[{at}].name")
        properties = rule.get("properties") or {}
        _check_rule(f"{group_id}/securityRules/{rule['name']}", properties)
        place = properties["direction"].lower(), properties["priority"]
        other = taken.setdefault(place, rule["name"])
        if other != rule["name"] or [one.get("name") for one in rules].count(rule["name"]) > 1:
            raise ArmError(
                400,
                "SecurityRuleConflict",
                f"Security rule {other} conflicts with rule {rule['name']}. Rules cannot have the same "
                "Priority and Direction. To learn more, see aka.ms/nsgrules.",
            )
    return [_rule(group_id, "securityRules", one["name"], one["properties"]) for one in rules]


def default_rules(group_id: str) -> list[Json]:
    """The rules that every group has."""
    return [
        _rule(
            group_id,
            "defaultSecurityRules",
            name,
            {
                "protocol": "*",
                "sourcePortRange": "*",
                "destinationPortRange": "*",
                "sourceAddressPrefix": source,
                "destinationAddressPrefix": destination,
                "access": access,
                "priority": priority,
                "direction": direction,
            },
        )
        for name, direction, priority, access, source, destination in _DEFAULTS
    ]


def _check_rule(rule_id: str, properties: Json) -> None:
    priority = properties.get("priority")
    if priority not in _PRIORITIES:
        raise ArmError(
            400,
            "SecurityRuleInvalidPriority",
            f"Security rule has invalid Priority. Value provided: {priority}. Allowed range 100-4096.",
        )
    for what, members in _REQUIRED.items():
        if not any(properties.get(member) for member in members):
            raise ArmError(
                400,
                "SecurityRuleParametersMissing",
                f"Required security rule parameters are missing for security rule with Id: {rule_id}. "
                f"Security rule must specify {what}.",
            )


def _rule(group_id: str, collection: str, name: str, properties: dict[str, Any]) -> Json:
    return {
        "name": name,
        "id": f"{group_id}/{collection}/{name}",
        "type": f"{_TYPE}/{collection}",
        "properties": {"provisioningState": "Succeeded", **properties},
    }
