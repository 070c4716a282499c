"""Azure RBAC: role assignments, and the authorization of requests."""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import (
    ArmError,
    authorization_failed,
    invalid_parameter,
    linked_authorization_failed,
)
from local.azure.arm.resources import Json, parse_id
from local.azure.arm.schema import ROLE_ASSIGNMENT
from local.azure.arm.validation import validate
from local.azure.clock import timestamp
from local.azure.cloud import Cloud
from local.azure.faults.azure_errors import azure_error
from local.azure.identity.conditions import Condition, Sources, parse_condition, source_of
from local.azure.identity.directory import Principal, seeded_guid
from local.azure.identity.role_definitions import OWNER, Role, RoleDefinitions, is_guid

_TYPE = "Microsoft.Authorization/roleAssignments"
_PERMISSIONS_TYPE = "Microsoft.Authorization/permissions"
_USAGE_TYPE = "Microsoft.Authorization/roleAssignmentsUsageMetrics"
_KNOWN_PROVIDERS = ("microsoft.compute/", "microsoft.network/")


@dataclass
class RoleAssignment:
    """A role assigned to a principal at a scope."""

    name: str
    scope: str
    role: Role
    principal_id: str
    effective_at: float
    """Simulated time from which it is in effect."""
    body: Json
    condition: Condition | None = None

    @cached_property
    def prefix(self) -> str:
        """What the paths at and below the scope start with, with a slash at their end."""
        return f"{self.scope.lower().rstrip('/')}/"

    def covers(self, path: str) -> bool:
        """Whether `path` is the scope or is below it."""
        return f"{path.lower()}/".startswith(self.prefix)


class Authorization:
    """The subscription's role assignments. As in Azure, they outlive their principals and scopes."""

    def __init__(self, cloud: Cloud, roles: RoleDefinitions) -> None:
        self._cloud, self._roles = cloud, roles
        self._assignments: dict[str, RoleAssignment] = {}
        self._names: list[str] = []
        """Ordered: each page of a list needs them."""
        self._of_principal: defaultdict[str, dict[str, RoleAssignment]] = defaultdict(dict)
        """By principal and name: every request needs those of its caller."""
        identity = cloud.identity
        self._add(
            name=seeded_guid(cloud.options.seed, "owner"),
            scope=cloud.subscription_scope,
            role=OWNER,
            properties={
                "principalId": identity.client_object_id,
                "principalType": "ServicePrincipal",
            },
            by=identity.client_object_id,
            effective_at=0.0,
        )

    def routes(self) -> list[Route]:
        return [
            Route("PUT", _TYPE, self._put),
            Route("GET", _TYPE, self._get),
            Route("DELETE", _TYPE, self._delete),
            Route("GET", _TYPE, self._list, collection=True),
            Route("GET", _PERMISSIONS_TYPE, self._permissions, collection=True),
            Route("GET", _USAGE_TYPE, self._usage, collection=True),
        ]

    def require(self, principal: Principal, action: str, path: str, body: object = None) -> None:
        """Raise ArmError 403 unless an assignment in effect allows `action` on `path`.

        `body`: of the request; conditions compare it.
        """
        allowing = [a for a in self._at(principal, path) if self._role(a).allows(action)]
        conditions = [assignment.condition for assignment in allowing]
        refused = (principal.client_id, principal.object_id, action, path)
        if not conditions:
            raise authorization_failed(*refused)
        if None in conditions:
            return
        sources = self._sources(action, path, body)
        if not any(one.allows(action, sources) for one in conditions if one):
            raise authorization_failed(*refused, condition=True)

    def _sources(self, action: str, path: str, body: object) -> Sources:
        """What conditions compare: the role assignment in the request, and the existing one."""
        if not action.lower().startswith(f"{_TYPE}/".lower()):
            return {}
        existing = self._assignments.get(path.rpartition("/")[2].lower())
        sources = {} if existing is None else {"Resource": source_of(existing.body["properties"])}
        if isinstance(body, dict):
            sources["Request"] = source_of(validate(body, ROLE_ASSIGNMENT)["properties"])
        return sources

    def require_linked(
        self, principal: Principal, action: str, path: str, linked: list[tuple[str, str]]
    ) -> None:
        """Raise ArmError 403 unless the principal may also do what the request's body implies:
        (scope, action).
        """
        for scope, required in linked:
            if not any(role.allows(required) for role in self._roles_at(principal, scope)):
                raise linked_authorization_failed(
                    principal.client_id, principal.object_id, action, path, required, scope
                )

    def sees_subscription(self, principal: Principal) -> bool:
        """Whether any assignment in effect, at any scope, makes the subscription visible."""
        return bool(self._in_effect(principal))

    def _roles_at(self, principal: Principal, path: str) -> list[Role]:
        return [self._role(assignment) for assignment in self._at(principal, path)]

    def _at(self, principal: Principal, path: str) -> list[RoleAssignment]:
        return [one for one in self._in_effect(principal) if one.covers(path)]

    def _role(self, assignment: RoleAssignment) -> Role:
        return self._roles.current(assignment.role)

    def _in_effect(self, principal: Principal) -> list[RoleAssignment]:
        now, own = self._cloud.clock.now(), self._of_principal[principal.object_id.lower()]
        return [assignment for assignment in own.values() if assignment.effective_at <= now]

    async def _permissions(self, call: Call) -> Reply:
        """The caller's permissions at the scope: one entry per role."""
        roles = self._roles_at(call.principal, call.target.scope)
        return Reply(200, {"value": [role.permissions for role in roles]})

    async def _usage(self, call: Call) -> Reply:
        """The subscription's limit and number of role assignments, as RoleAssignmentMetricsResult of the
        SDK describes them.
        """
        limit, count = self._cloud.options.role_assignment_limit, len(self._assignments)
        usage = {
            "subscriptionId": self._cloud.identity.subscription_id,
            "roleAssignmentsLimit": limit,
            "roleAssignmentsCurrentCount": count,
            "roleAssignmentsRemainingCount": max(0, limit - count),
        }
        return Reply(200, usage)

    async def _put(self, call: Call) -> Reply:
        name, scope = call.target.name.lower(), call.target.scope
        properties = validate(call.request.body, ROLE_ASSIGNMENT)["properties"]
        parse_condition(properties)
        await self._cloud.wait("role.put", name)
        self._check_name(name)
        self._check_scope(scope)
        role = self._roles.find(properties["roleDefinitionId"], scope)
        existing = self._assignments.get(name)
        if existing is not None:
            return self._reput(existing, scope, role, properties["principalId"])
        self._check_principal(properties["principalId"], properties.get("principalType"))
        self._check_duplicate(scope, role, properties["principalId"])
        if len(self._assignments) >= self._cloud.options.role_assignment_limit:
            raise ArmError(
                400,
                "RoleAssignmentLimitExceeded",
                "No more role assignments can be created. The subscription has reached the limit.",
            )
        delay = self._cloud.latencies.draw("role.effective", name)
        assignment = self._add(
            name=name,
            scope=scope,
            role=role,
            properties=properties,
            by=call.principal.object_id,
            effective_at=self._cloud.clock.now() + delay,
        )
        return Reply(201, assignment.body)

    def _add(
        self, *, name: str, scope: str, role: Role, properties: Json, by: str, effective_at: float
    ) -> RoleAssignment:
        now, principal = timestamp(), self._cloud.directory.find(properties["principalId"])
        assert principal is not None  # `_check_principal`
        body = {
            "properties": {
                "roleDefinitionId": role.id(self._cloud.subscription_scope),
                "principalId": properties["principalId"],
                "principalType": principal.type,
                "scope": scope,
                "condition": properties.get("condition"),
                "conditionVersion": properties.get("conditionVersion"),
                "createdOn": now,
                "updatedOn": now,
                "createdBy": by,
                "updatedBy": by,
                "delegatedManagedIdentityResourceId": None,
                "description": properties.get("description"),
            },
            "id": f"{scope}/providers/{_TYPE}/{name}",
            "type": _TYPE,
            "name": name,
        }
        principal_id = properties["principalId"].lower()
        condition = parse_condition(properties)
        assignment = RoleAssignment(name, scope, role, principal_id, effective_at, body, condition)
        bisect.insort(self._names, name)
        self._assignments[name] = self._of_principal[principal_id][name] = assignment
        return assignment

    def _check_name(self, name: str) -> None:
        if not is_guid(name):
            raise ArmError(
                400,
                "InvalidRoleAssignmentId",
                f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.",
            )

    def _check_scope(self, scope: str) -> None:
        target = parse_id(scope)
        self._cloud.check_group(target.subscription, target.group)
        # Resources of other providers are not simulated, so they are assumed to exist.
        if target.kind.startswith(_KNOWN_PROVIDERS):
            self._cloud.store.get(target)

    def _check_principal(self, principal_id: str, principal_type: str | None) -> None:
        """Check that the principal exists in the directory, with the given type.

        An application ID is unknown, as any GUID that is no object ID. For the type ServicePrincipal,
        Azure would accept an unknown ID, but here it is always a mistake.
        """
        if not is_guid(principal_id):
            raise ArmError(
                400,
                "InvalidPrincipalId",
                "A valid principal ID must be provided for role assignment.",
            )
        principal = self._cloud.directory.find(principal_id)
        now = self._cloud.clock.now()
        if principal is None or now < (
            principal.replicated_at if principal_type else principal.replicated_untyped_at
        ):
            raise azure_error(
                "PrincipalNotFound",
                assignee=principal_id.replace("-", ""),
                tenant=self._cloud.identity.tenant_id,
            )
        if principal_type and principal_type.lower() != principal.type.lower():
            raise ArmError(
                400,
                "UnmatchedPrincipalType",
                f"The PrincipalId '{principal_id.replace('-', '')}' has type '{principal.type}' , "
                f"which is different from specified PrinciaplType '{principal_type}'.",
            )

    def _check_duplicate(self, scope: str, role: Role, principal_id: str) -> None:
        for other in self._of_principal[principal_id.lower()].values():
            if other.scope.lower() == scope.lower() and other.role.guid == role.guid:
                raise azure_error("RoleAssignmentExists", assignment=other.name.replace("-", ""))

    def _reput(self, existing: RoleAssignment, scope: str, role: Role, principal_id: str) -> Reply:
        same = (existing.scope.lower(), existing.principal_id) == (
            scope.lower(),
            principal_id.lower(),
        )
        if not same or existing.role.guid != role.guid:
            raise azure_error("RoleAssignmentUpdateNotPermitted")
        return Reply(200, existing.body)

    async def _get(self, call: Call) -> Reply:
        assignment = self._assignments.get(call.target.name.lower())
        if assignment is None or assignment.scope.lower() != call.target.scope.lower():
            raise ArmError(
                404,
                "RoleAssignmentNotFound",
                f"The role assignment '{call.target.name}' is not found.",
            )
        return Reply(200, assignment.body)

    async def _delete(self, call: Call) -> Reply:
        name = call.target.name.lower()
        await self._cloud.wait("role.delete", name)
        assignment = self._assignments.get(name)
        if assignment is None or assignment.scope.lower() != call.target.scope.lower():
            return Reply(204)
        del self._names[bisect.bisect_left(self._names, name)]
        del self._assignments[name], self._of_principal[assignment.principal_id][name]
        return Reply(200, assignment.body)

    async def _list(self, call: Call) -> Reply:
        """Assignments at, above and below the scope; `atScope()` excludes those below."""
        scope, text = call.target.scope, call.request.query.get("$filter", "")
        wanted = re.search(r"(?:principalId eq |assignedTo\()'([^']*)'", text, re.IGNORECASE)
        at_scope = "atscope()" in text.lower()
        if text and not wanted and not at_scope:
            raise invalid_parameter("$filter", f"The filter '{text}' is not supported.")
        path = f"{scope.lower()}/"
        shown = (
            (a.name, a)
            for a in map(self._assignments.__getitem__, self._names)
            if (path.startswith(a.prefix) or (not at_scope and a.prefix.startswith(path)))
            and (not wanted or a.principal_id == wanted[1].lower())
        )
        return self._cloud.page(call, shown, lambda assignment: assignment.body)
