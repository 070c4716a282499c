"""The sweep's decision: what to delete from the contents of a resource group. No I/O.

The sweep is the third cleanup guarantee and needs no fleet record: it relies on names, on the tags of
NICs and on the descriptions of role assignments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

from fleet.azure import role_assignments
from fleet.azure.arm_bodies import Body
from fleet.azure.client import RoleAssignment
from fleet.azure.owned_resources import KINDS
from fleet.azure.ownership import (
    Ownership,
    from_description,
    from_resource,
    nics_by_vm,
    of_batches,
)
from fleet.azure.virtual_machines import provisioning_state
from fleet.model.activities import ResourceKind, ResourceRef

BatchStatus = Literal["alive", "done", "ended", "unknown"]
"""`done`: succeeded. `ended`: failed or cancelled. `unknown`: the task hub has no record of it."""


@dataclass(frozen=True, slots=True)
class OwnedResource:
    """A resource in Azure that belongs to a fleet."""

    ref: ResourceRef
    ownership: Ownership
    deletable: bool
    """False while another resource uses it or its deletion is in progress."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The resources that fleets own, and the names of resources with unreadable ownership."""

    owned: list[OwnedResource]
    unreadable: list[str]


def take_inventory(
    resources: Mapping[ResourceKind, Sequence[Body]],
    assignments: Iterable[RoleAssignment],
    scope: str,
) -> Inventory:
    """Classify the resources of a resource group, by kind. `scope` is the group's ARM ID."""
    owned: list[OwnedResource] = []
    unreadable: list[str] = []

    def add(ref: ResourceRef, deletable: bool, read: Callable[[], Ownership | None]) -> None:
        try:
            ownership = read()
        except ValueError:
            unreadable.append(ref["name"])
        else:
            if ownership is not None:
                owned.append(OwnedResource(ref, ownership, deletable))

    nics = nics_by_vm(resources["nic"])
    for kind, bodies in resources.items():
        for body in bodies:
            ref: ResourceRef = {"kind": kind, "name": body["name"]}
            add(ref, _is_deletable(kind, body), partial(from_resource, kind, body, nics))
    vms = {vm["id"].lower() for vm in resources["machine"]}
    for one in assignments:
        about = role_assignments.parse_description(one.description)
        if about is not None and about.machine_id.lower().startswith(f"{scope}/".lower()):
            ref = {"kind": "assignment", "name": one.name, "scope": one.scope}
            add(ref, about.machine_id.lower() not in vms, partial(from_description, about))
    return Inventory(_inherit_ownership(owned), unreadable)


def batches_to_check(owned: Iterable[OwnedResource], owner: str, now: datetime) -> set[int]:
    """The batches whose status decides whether a resource is deleted."""
    return {
        one.ownership.batch_id
        for one in owned
        if one.deletable
        and one.ownership.owner in (owner, None)
        and not _is_overdue(one.ownership, now)
    }


def decide(
    owned: Iterable[OwnedResource], statuses: Mapping[int, BatchStatus], owner: str, now: datetime
) -> list[ResourceRef]:
    """The resources to delete, in the order of KINDS.

    Deletes every resource past its deadline, whichever deployment owns it, and the resources that this
    deployment (`owner`) created for fleets that have ended. A batch missing from `statuses` is alive.
    """
    chosen = [
        one for one in owned if one.deletable and _is_orphaned(one.ownership, statuses, owner, now)
    ]
    chosen.sort(key=lambda one: KINDS.index(one.ref["kind"]))
    return [one.ref for one in chosen]


def _is_orphaned(
    ownership: Ownership, statuses: Mapping[int, BatchStatus], owner: str, now: datetime
) -> bool:
    if _is_overdue(ownership, now):
        return True
    status = statuses.get(ownership.batch_id, "alive")
    if ownership.owner is None:
        # Only the name suggests that the resource is ours; our own record of the batch must confirm it.
        return status == "ended"
    if ownership.owner != owner or status == "alive":
        return False
    return not (ownership.keep and status in ("done", "unknown"))


def _is_overdue(ownership: Ownership, now: datetime) -> bool:
    return ownership.deadline is not None and now >= ownership.deadline


def _inherit_ownership(owned: Sequence[OwnedResource]) -> list[OwnedResource]:
    """Give a disk that outlived its NIC the ownership of its batch's other resources, if these agree."""
    batches = of_batches([one.ownership for one in owned])
    return [
        replace(one, ownership=batches.get(one.ownership.batch_id, one.ownership))
        if one.ref["kind"] == "disk" and one.ownership.owner is None
        else one
        for one in owned
    ]


def _is_deletable(kind: ResourceKind, resource: Body) -> bool:
    match kind:
        case "nic":
            return not resource["properties"].get("virtualMachine")
        case "disk":
            return not resource.get("managedBy")
        case _:
            return provisioning_state(resource) != "Deleting"
