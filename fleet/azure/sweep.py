"""The sweep's decision: what to delete from the contents of a resource group. No I/O.

The sweep is the third cleanup guarantee and needs no fleet record: it relies on resource tags and on
the descriptions of role assignments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from fleet.azure import role_assignments
from fleet.azure.arm_bodies import Body
from fleet.azure.client import RoleAssignment
from fleet.azure.owned_resources import KINDS, Kind, ResourceRef
from fleet.azure.role_assignments import DescriptionFields
from fleet.azure.virtual_machines import provisioning_state
from fleet.model import names

BatchStatus = Literal["alive", "done", "ended", "unknown"]
"""`done`: succeeded. `ended`: failed or cancelled. `unknown`: the task hub has no record of it."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The batch and the deployment that own a resource."""

    batch_id: int
    owner: str | None = None
    """The deployment; None if the resource does not name one."""
    deadline: datetime | None = None
    keep: bool = False


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
    resources: Mapping[Kind, Sequence[Body]], assignments: Iterable[RoleAssignment], scope: str
) -> Inventory:
    """Classify the resources of a resource group, by kind. `scope` is the group's ARM ID.

    A VM, NIC or OS disk is owned only if both its name and its tags say so: policies and users copy
    tags. An OS disk may lack tags; it then inherits the ownership of its batch's other resources.
    """
    owned: list[OwnedResource] = []
    unreadable: list[str] = []
    vms = {vm["id"].lower() for vm in resources["machine"]}
    descriptions = {one: role_assignments.parse_description(one.description) for one in assignments}
    found: list[tuple[ResourceRef, bool, Body | DescriptionFields]] = [
        ({"kind": kind, "name": body["name"]}, _is_deletable(kind, body), body)
        for kind, bodies in resources.items()
        for body in bodies
    ]
    found += [
        (
            {"kind": "assignment", "name": one.name, "scope": one.scope},
            not _exists(fields, vms),
            fields,
        )
        for one, fields in descriptions.items()
        if fields is not None and fields.machine_id.lower().startswith(f"{scope}/".lower())
    ]
    for ref, deletable, source in found:
        try:
            ownership = _ownership(source)
        except ValueError:
            unreadable.append(ref["name"])
            continue
        if ownership is not None:
            owned.append(OwnedResource(ref, ownership, deletable))
    return Inventory(list(_inherit_ownership(owned)), unreadable)


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


def _inherit_ownership(owned: Sequence[OwnedResource]) -> Iterator[OwnedResource]:
    """Give an untagged resource the ownership of its batch's other resources, if these agree."""
    known: dict[int, set[Ownership]] = {}
    for one in owned:
        if one.ownership.owner is not None:
            known.setdefault(one.ownership.batch_id, set()).add(replace(one.ownership, keep=False))
    kept = {one.ownership.batch_id for one in owned if one.ownership.keep}
    for one in owned:
        others = known.get(one.ownership.batch_id, set())
        if one.ownership.owner is None and one.ownership.deadline is None and len(others) == 1:
            keep = one.ownership.batch_id in kept
            yield replace(one, ownership=replace(next(iter(others)), keep=keep))
        else:
            yield one


def _ownership(source: Body | DescriptionFields) -> Ownership | None:
    if isinstance(source, DescriptionFields):
        return _from_description(source)
    return _from_tags(source)


def _from_tags(resource: Body) -> Ownership | None:
    """None if no fleet owns it. Raises ValueError if tags are unreadable or contradict the name."""
    tags, batch = resource.get("tags") or {}, names.batch_in(resource["name"])
    if names.BATCH_TAG not in tags:
        is_disk = resource["name"].endswith("_osdisk")
        return Ownership(batch) if batch is not None and is_disk else None
    if batch is None or tags[names.BATCH_TAG] != str(batch):
        raise ValueError("the name contradicts the batch tag")
    deadline = tags.get(names.DEADLINE_TAG)
    return Ownership(
        batch,
        tags.get(names.OWNER_TAG),
        None if deadline is None else _parse_time(deadline),
        names.KEEP_TAG in tags,
    )


def _from_description(fields: DescriptionFields) -> Ownership:
    """Raises ValueError for an unreadable deadline."""
    return Ownership(fields.batch_id, fields.owner, _parse_time(fields.deadline))


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("deadline without a time zone")
    return time


def _exists(fields: DescriptionFields, vms: Collection[str]) -> bool:
    return fields.machine_id.lower() in vms


def _is_deletable(kind: Kind, resource: Body) -> bool:
    match kind:
        case "nic":
            return not resource["properties"].get("virtualMachine")
        case "disk":
            return not resource.get("managedBy")
        case _:
            return provisioning_state(resource) != "Deleting"
