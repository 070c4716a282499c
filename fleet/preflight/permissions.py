"""What the app's identity may do, and whether Azure has room for the VMs' role assignments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from fleet.azure import role_assignments
from fleet.azure.bodies import Body
from fleet.preflight.finding import Finding, room, unseen
from fleet.preflight.inventory import Missing, Survey, scopes
from fleet.preflight.networks import standing

ASSIGNMENT_LIMIT = 4000
"""Of a subscription, fixed; assignments at groups and resources count (RBAC troubleshoot-limits)."""

_GROUP = {
    "Microsoft.Compute/virtualMachines": "read write delete",
    "Microsoft.Compute/disks": "read delete",
    "Microsoft.Network/networkInterfaces": "read write delete join/action",
    "Microsoft.Authorization/roleAssignments": "read write delete",
}
_OUR_NETWORK = {"Microsoft.Network/virtualNetworks": "read subnets/join/action"}
_NEW_NETWORK = {"Microsoft.Network/virtualNetworks": "read write subnets/join/action"}
_THEIR_NETWORK = {"Microsoft.Network/virtualNetworks": "subnets/join/action"}
_RESOURCE = {"Microsoft.Authorization/roleAssignments": "write delete"}
"""What a fleet does, from resource type to its verbs: first to the last deleted disk."""


def rights(survey: Survey) -> Iterator[Finding]:
    """One finding for each scope at which something is missing, or that was not told."""
    complete = True
    for scope, needed in _needed(survey):
        held = survey.permissions[scope]
        if isinstance(held, Missing):
            complete = False
            yield unseen(f"The permissions at {scope}", held)
            continue
        missing = _missing(needed, held)
        if missing:
            complete = False
            advice = (
                "Give the app's identity these rights: Contributor and User Access Administrator "
            )
            advice += "at this scope hold them all."
            yield Finding("fault", f"Not allowed at {scope}: {missing}", advice, "RightsMissing")
    if complete:
        yield Finding("ok", "The app's identity may do all that a fleet needs")


def role_assignment_room(survey: Survey) -> Iterator[Finding]:
    count = survey.assignments
    if isinstance(count, Missing):
        yield unseen("The subscription's role assignments", count)
        return
    each = len(role_assignments.of_machine(survey.order, "", ""))
    fit = max(0, ASSIGNMENT_LIMIT - count) // each
    why = f": the subscription holds {count} of {ASSIGNMENT_LIMIT} role assignments, a VM takes {each}"
    advice = (
        "Delete assignments of principals that are gone, or ask for fewer VMs or resource_uris."
    )
    yield room(survey, fit, "RoleAssignmentLimitExceeded", why, advice)


def _needed(survey: Survey) -> Iterator[tuple[str, dict[str, str]]]:
    order = survey.order
    network = {} if order["subnet_id"] else _OUR_NETWORK if _all_stand(survey) else _NEW_NETWORK
    yield scopes(order)[0], _GROUP | network
    for uri in order["resource_uris"]:
        yield uri, _RESOURCE
    if order["subnet_id"]:
        yield order["subnet_id"], _THEIR_NETWORK


def _all_stand(survey: Survey) -> bool:
    return bool(survey.regions) and all(
        standing(survey, location, region) for location, region in survey.regions.items()
    )


def _missing(needed: dict[str, str], held: list[Body]) -> str:
    """The actions that no role gives: `Microsoft.Compute/disks/{delete}, …`."""
    parts = []
    for kind, verbs in needed.items():
        lacking = [verb for verb in verbs.split() if not _allowed(f"{kind}/{verb}", held)]
        if lacking:
            parts.append(f"{kind}/{{{','.join(lacking)}}}")
    return ", ".join(parts)


def _allowed(action: str, held: list[Body]) -> bool:
    """A role gives its actions less its own notActions; what one role takes out, another may give."""
    return any(
        _matches_any(role.get("actions", []), action)
        and not _matches_any(role.get("notActions", []), action)
        for role in held
    )


def _matches_any(patterns: list[str], action: str) -> bool:
    return any(_expression(pattern).fullmatch(action) for pattern in patterns)


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.compile(".*".join(parts), re.IGNORECASE)
