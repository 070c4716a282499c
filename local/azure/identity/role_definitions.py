"""Role definitions, to be read."""

from __future__ import annotations

import re

from local.azure.arm.calls import Call, Reply, Route
from local.azure.cloud import Cloud
from local.azure.identity.roles import DEFINITION_TYPE, ROLES, find_role


class RoleDefinitions:
    """Microsoft.Authorization/roleDefinitions: the same built-in roles at every scope."""

    def __init__(self, cloud: Cloud) -> None:
        self._scope = cloud.subscription_scope

    def routes(self) -> list[Route]:
        """GET and list."""
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
