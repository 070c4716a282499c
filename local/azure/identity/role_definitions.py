"""Role definitions: built-in (learn.microsoft.com, built-in roles) and custom."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from functools import cache

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Json
from local.azure.arm.schema import ROLE_DEFINITION
from local.azure.arm.validation import validate
from local.azure.cloud import Cloud

DEFINITION_TYPE = "Microsoft.Authorization/roleDefinitions"


@dataclass(frozen=True)
class Role:
    """A role. Actions may contain `*`."""

    guid: str
    name: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()
    assignable_scopes: tuple[str, ...] = ("/",)
    """Of a custom role, the subscription or its resource groups."""

    @property
    def is_custom(self) -> bool:
        return self.assignable_scopes != ("/",)

    def is_assignable_at(self, scope: str) -> bool:
        """Whether `scope` is one of the assignable scopes or below one."""
        within = f"{scope.lower()}/"
        return any(
            within.startswith(f"{one.lower().rstrip('/')}/") for one in self.assignable_scopes
        )

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
                "type": "CustomRole" if self.is_custom else "BuiltInRole",
                "description": "",
                "assignableScopes": list(self.assignable_scopes),
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


class RoleDefinitions:
    """Microsoft.Authorization/roleDefinitions."""

    def __init__(self, cloud: Cloud) -> None:
        self._scope = cloud.subscription_scope
        self._roles = dict(ROLES)

    def routes(self) -> list[Route]:
        return [
            Route("PUT", DEFINITION_TYPE, self._put),
            Route("GET", DEFINITION_TYPE, self._get),
            Route("GET", DEFINITION_TYPE, self._list, collection=True),
        ]

    def find(self, definition_id: str, scope: str, status: int = 400) -> Role:
        """The role with this definition id, with or without a subscription, if it is assignable at the
        scope. Raises ArmError.
        """
        type_, _, guid = definition_id.lower().rpartition("/")
        role = self._roles.get(guid)
        known = role is not None and type_.endswith(DEFINITION_TYPE.lower())
        if role is None or not known or not role.is_assignable_at(scope):
            raise ArmError(
                status,
                "RoleDefinitionDoesNotExist",
                f"The specified role definition with ID '{guid}' does not exist.",
            )
        return role

    def current(self, role: Role) -> Role:
        """An assigned role, with the permissions that it has now."""
        return self._roles[role.guid]

    async def _put(self, call: Call) -> Reply:
        """Create or update a custom role."""
        guid = call.target.name.lower()
        properties = validate(call.request.body, ROLE_DEFINITION)["properties"]
        name, scopes = properties["roleName"], properties["assignableScopes"]
        self._check_name(guid, name)
        # Azure also limits the number of scopes; code and message are a guess.
        if not scopes or not all(_is_within(one, self._scope) for one in scopes):
            raise ArmError(
                400,
                "InvalidAssignableScopes",
                f"The assignable scopes '{scopes}' must be the subscription or its resource groups.",
            )
        permissions = properties["permissions"]
        for action in (a for one in permissions for a in one.get("actions", [])):
            if action != "*" and "/" not in action:
                raise ArmError(
                    400,
                    "InvalidActionOrNotAction",
                    f"'{action}' does not match any of the actions supported by the providers.",
                )
        self._roles[guid] = Role(
            guid,
            name,
            tuple(a for one in permissions for a in one.get("actions", [])),
            tuple(a for one in permissions for a in one.get("notActions", [])),
            tuple(scopes),
        )
        return Reply(201, self._roles[guid].body(self._scope))

    def _check_name(self, guid: str, name: str) -> None:
        if not is_guid(guid) or guid in ROLES:
            raise ArmError(
                400,  # code and message are a guess
                "InvalidRoleDefinitionId",
                f"The role definition ID '{guid}' is not valid. It must be the GUID of a custom role.",
            )
        if any(r.name.lower() == name.lower() and r.guid != guid for r in self._roles.values()):
            raise ArmError(
                409,
                "RoleDefinitionWithSameNameExists",
                f"A custom role with the same name already exists in this directory: '{name}'.",
            )

    async def _get(self, call: Call) -> Reply:
        role = self.find(call.target.path, call.target.scope, 404)
        return Reply(200, role.body(self._scope))

    async def _list(self, call: Call) -> Reply:
        name = re.search(r"roleName eq '([^']*)'", call.request.query.get("$filter", ""))
        shown = [
            r for r in self._roles.values()
            if r.is_assignable_at(call.target.scope) and (not name or r.name.lower() == name[1].lower())
        ]  # fmt: skip
        return Reply(200, {"value": [role.body(self._scope) for role in shown]})


def is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _is_within(path: str, scope: str) -> bool:
    return f"{path.lower()}/".startswith(f"{scope.lower()}/")


@cache
def _matches(pattern: str, action: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, action, re.IGNORECASE) is not None
