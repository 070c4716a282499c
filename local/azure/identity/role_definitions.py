"""Built-in role definitions (learn.microsoft.com, built-in roles)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Json
from local.azure.cloud import Cloud

DEFINITION_TYPE = "Microsoft.Authorization/roleDefinitions"


@dataclass(frozen=True)
class Role:
    """A built-in role. Actions may contain `*`."""

    guid: str
    name: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        return any(_matches(p, action) for p in self.actions) and not any(
            _matches(p, action) for p in self.not_actions
        )

    def id(self, subscription_scope: str) -> str:
        """Its resource id in a subscription."""
        return f"{subscription_scope}/providers/{DEFINITION_TYPE}/{self.guid}"

    @property
    def permissions(self) -> Json:
        """Its permissions in ARM's format."""
        return {
            "actions": list(self.actions),
            "notActions": list(self.not_actions),
            "dataActions": [],
            "notDataActions": [],
        }

    def body(self, subscription_scope: str) -> Json:
        """What a GET of the role definition returns."""
        return {
            "properties": {
                "roleName": self.name,
                "type": "BuiltInRole",
                "description": "",
                "assignableScopes": ["/"],
                "permissions": [self.permissions],
            },
            "id": self.id(subscription_scope),
            "type": DEFINITION_TYPE,
            "name": self.guid,
        }


OWNER = Role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", ("*",))

ROLES = {
    role.guid: role
    for role in (
        OWNER,
        Role(
            "b24988ac-6180-42a0-ab88-20f7382dd24c",
            "Contributor",
            ("*",),
            (
                "Microsoft.Authorization/*/Delete",
                "Microsoft.Authorization/*/Write",
                "Microsoft.Authorization/elevateAccess/Action",
            ),
        ),
        Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", ("*/read",)),
        Role(
            "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
            "Virtual Machine Contributor",
            (
                "Microsoft.Authorization/*/read",
                "Microsoft.Compute/locations/*",
                "Microsoft.Compute/virtualMachines/*",
                "Microsoft.Compute/disks/write",
                "Microsoft.Compute/disks/read",
                "Microsoft.Compute/disks/delete",
                "Microsoft.Network/networkInterfaces/*",
                "Microsoft.Network/locations/*",
                "Microsoft.Network/virtualNetworks/read",
                "Microsoft.Network/virtualNetworks/subnets/join/action",
                "Microsoft.Resources/subscriptions/resourceGroups/read",
            ),
        ),
        Role(
            "4d97b98b-1d4f-4787-a291-c67834d212e7",
            "Network Contributor",
            (
                "Microsoft.Authorization/*/read",
                "Microsoft.Network/*",
                "Microsoft.Resources/subscriptions/resourceGroups/read",
            ),
        ),
        Role(
            "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
            "User Access Administrator",
            ("*/read", "Microsoft.Authorization/*"),
        ),
    )
}


def find_role(definition_id: str) -> Role:
    """The role with this definition id, with or without a subscription. Raises ArmError 400."""
    type_, _, guid = definition_id.lower().rpartition("/")
    role = ROLES.get(guid)
    if role is None or not type_.endswith(DEFINITION_TYPE.lower()):
        raise ArmError(
            400,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{guid}' does not exist.",
        )
    return role


class RoleDefinitions:
    """Microsoft.Authorization/roleDefinitions: the same built-in roles at every scope."""

    def __init__(self, cloud: Cloud) -> None:
        self._scope = cloud.subscription_scope

    def routes(self) -> list[Route]:
        return [
            Route("GET", DEFINITION_TYPE, self._get),
            Route("GET", DEFINITION_TYPE, self._list, collection=True),
        ]

    async def _get(self, call: Call) -> Reply:
        return Reply(200, find_role(call.target.path).body(self._scope))

    async def _list(self, call: Call) -> Reply:
        name = re.search(r"roleName eq '([^']*)'", call.request.query.get("$filter", ""))
        shown = [r for r in ROLES.values() if not name or r.name.lower() == name[1].lower()]
        return Reply(200, {"value": [role.body(self._scope) for role in shown]})


@cache
def _matches(pattern: str, action: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, action, re.IGNORECASE) is not None
