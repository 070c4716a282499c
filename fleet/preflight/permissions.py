"""Checks the permissions of the app's identity and the limit of role assignments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from fleet.azure import role_assignments
from fleet.azure.arm_bodies import Body
from fleet.model import names
from fleet.preflight.check_result import CheckResult, capacity_result, unreadable
from fleet.preflight.networks import is_secured
from fleet.preflight.plan_inputs import PlanInputs, Unavailable, gallery_scopes, scopes

_GROUP = {
    "Microsoft.Compute/virtualMachines": "read write delete",
    "Microsoft.Compute/disks": "read write delete",
    "Microsoft.Network/networkInterfaces": "read write delete join/action",
    "Microsoft.Authorization/roleAssignments": "read write delete",
}
_SHARED_NETWORK = {"Microsoft.Network/virtualNetworks": "read subnets/join/action"}
_NEW_NETWORK = {
    "Microsoft.Network/virtualNetworks": "read write subnets/write subnets/join/action",
    "Microsoft.Network/networkSecurityGroups": "read write join/action",
}
_EXISTING_NETWORK = {"Microsoft.Network/virtualNetworks": "subnets/join/action"}
_VM_IDENTITY = {"Microsoft.ManagedIdentity/userAssignedIdentities": "assign/action"}
_GALLERY_IMAGE = {"Microsoft.Compute/galleries/images": "versions/read"}
_RESOURCE = {"Microsoft.Authorization/roleAssignments": "write delete"}
"""All actions of a fleet: resource type to verbs."""
_VM = {"Microsoft.Compute/virtualMachines": "read delete"}
"""The actions of a VM on itself."""
_RESIZE = {"Microsoft.Compute/virtualMachines": "write"}


def check_permissions(inputs: PlanInputs) -> Iterator[CheckResult]:
    """One result per scope with missing or unreadable permissions."""
    complete = True
    for scope, needed in _needed(inputs):
        granted = inputs.permissions[scope]
        if isinstance(granted, Unavailable):
            complete = False
            yield unreadable(f"The permissions at {scope}", granted)
            continue
        missing = _missing(needed, granted)
        if missing:
            complete = False
            roles = (
                "Reader"
                if needed is _GALLERY_IMAGE
                else "Contributor and User Access Administrator"
            )
            advice = (
                f"Assign the app's identity {roles} at this scope: "
                "together they include all required actions."
            )
            yield CheckResult(
                "fault", f"Missing permissions at {scope}: {missing}", advice, "PermissionsMissing"
            )
    if complete:
        yield CheckResult("ok", "The app's identity has all required permissions")


def vm_role(inputs: PlanInputs) -> Iterator[CheckResult]:
    """The role that VMs get at themselves must exist and let them delete themselves, and should not let
    them change their size if the deployment limits it.
    """
    role, guid = inputs.vm_role, inputs.order.get("vm_role", names.CONTRIBUTOR)
    if isinstance(role, Unavailable):
        yield unreadable(f"The VMs' role {guid}", role)
        return
    if role is None:
        text = f"The VMs' role {guid} does not exist in this subscription"
        advice = "Set FLEET_VM_ROLE to a role that the subscription is an assignable scope of."
        yield CheckResult("fault", text, advice, "VmRoleNotFound")
        return
    name, missing = role["properties"]["roleName"], _missing(_VM, role["properties"]["permissions"])
    if missing:
        text = f"The VMs' role {name} lacks {missing}: VMs cannot delete themselves"
        advice = "Add the actions to the role, or set FLEET_VM_ROLE to another role."
        yield CheckResult("fault", text, advice, "VmRoleTooNarrow")
        return
    limits = ", ".join(inputs.size_limits)
    if limits and not _missing(_RESIZE, role["properties"]["permissions"]):
        text = f"Each VM gets the role {name} at itself, and may resize itself beyond {limits}"
        advice = "Set FLEET_VM_ROLE to a role that lets VMs read and delete themselves only."
        yield CheckResult("warning", text, advice)
        return
    yield CheckResult("ok", f"Each VM gets the role {name} at itself")


def client_principal(inputs: PlanInputs) -> Iterator[CheckResult]:
    """Who gets Contributor on each VM beside the VM. Whether the principal exists, only Azure knows."""
    order, found = inputs.order, inputs.client
    named = order["client_principal_id"]
    if isinstance(found, Unavailable):
        yield unreadable("The object ID of client_id's service principal", found)
    elif named is not None:
        kind = order["client_principal_type"]
        yield CheckResult("ok", f"{kind} {named} gets Contributor on each VM")
    elif order["client_id"]:
        advice = "Set client_principal_id, or continue without its role."
        yield CheckResult("warning", "Entra's token for client_id has no object ID", advice)
    else:
        yield CheckResult("ok", "No client principal gets a role")


def role_assignment_limit(inputs: PlanInputs) -> Iterator[CheckResult]:
    usage = inputs.assignments
    if isinstance(usage, Unavailable):
        yield unreadable("The subscription's role assignments", usage)
        return
    each = len(role_assignments.grants_for_vm(inputs.order, "", ""))
    fit = max(0, usage.limit - usage.count) // each
    why = (
        f": the subscription has {usage.count} of {usage.limit} role assignments; "
        f"a VM requires {each}"
    )
    advice = "Delete assignments of deleted principals, or use fewer VMs or resource_uris."
    yield capacity_result(inputs, fit, "RoleAssignmentLimitExceeded", why, advice)


def _needed(inputs: PlanInputs) -> Iterator[tuple[str, dict[str, str]]]:
    order = inputs.order
    network = (
        {}
        if order["subnet_id"]
        else _SHARED_NETWORK
        if _all_subnets_are_secured(inputs)
        else _NEW_NETWORK
    )
    yield scopes(order)[0], _GROUP | network
    for uri in order["resource_uris"]:
        yield uri, _RESOURCE
    if order["subnet_id"]:
        yield order["subnet_id"], _EXISTING_NETWORK
    if "vm_identity" in order:
        yield order["vm_identity"]["id"], _VM_IDENTITY
    for image in gallery_scopes(order):
        yield image, _GALLERY_IMAGE


def _all_subnets_are_secured(inputs: PlanInputs) -> bool:
    """Whether every location has its subnet with a security group, so that the app writes neither."""
    return bool(inputs.regions) and all(
        is_secured(inputs, location, region) for location, region in inputs.regions.items()
    )


def _missing(needed: dict[str, str], granted: list[Body]) -> str:
    """The actions that no role grants: `Microsoft.Compute/disks/{delete}, …`."""
    parts = []
    for kind, verbs in needed.items():
        lacking = [verb for verb in verbs.split() if not _allowed(f"{kind}/{verb}", granted)]
        if lacking:
            parts.append(f"{kind}/{{{','.join(lacking)}}}")
    return ", ".join(parts)


def _allowed(action: str, granted: list[Body]) -> bool:
    """A role grants its actions minus its own notActions; another role may still grant these."""
    return any(
        _matches_any(role.get("actions", []), action)
        and not _matches_any(role.get("notActions", []), action)
        for role in granted
    )


def _matches_any(patterns: list[str], action: str) -> bool:
    return any(_expression(pattern).fullmatch(action) for pattern in patterns)


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.compile(".*".join(parts), re.IGNORECASE)
