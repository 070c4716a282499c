"""Whose a resource is: its name gives the batch, and the tags of its VM's NIC give the rest.

The tags of a VM prove nothing: with Contributor at itself, a VM may remove or forge them. Its NIC is out
of its reach, and so are its disk and the descriptions of its role assignments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from fleet.azure.arm_bodies import Body
from fleet.azure.role_assignments import DescriptionFields
from fleet.model import names
from fleet.model.names import VmKey
from fleet.model.order_parts import FleetRef


@dataclass(frozen=True, slots=True)
class Ownership:
    """The batch and the deployment that own a resource."""

    batch_id: int
    owner: str | None = None
    """The deployment; None if only the name suggests that the resource is a fleet's."""
    deadline: datetime | None = None
    keep: bool = False


def nics_by_vm(nics: Sequence[Body]) -> dict[VmKey, Body]:
    """The NICs with a name of the app, by the VM that the name belongs to."""
    return {key: nic for nic in nics if (key := names.vm_key("nic", nic["name"]))}


def from_resource(kind: str, resource: Body, nics: Mapping[VmKey, Body]) -> Ownership | None:
    """Of a VM, NIC or OS disk; None if the app would not give it its name.

    Raises ValueError if the tags that decide are unreadable or contradict the name.
    """
    key = names.vm_key(kind, resource["name"])
    if key is None:
        return None
    # Azure copies a VM's tags to its disk when it creates both; the VM cannot write the copy.
    source = nics.get(key) or (resource if kind == "disk" else {})
    return _from_tags(source.get("tags") or {}, key.batch_id)


def from_description(fields: DescriptionFields) -> Ownership:
    """Raises ValueError for an unreadable deadline."""
    return Ownership(fields.batch_id, fields.owner, _parse_time(fields.deadline))


def is_foreign(resource: Body, order: FleetRef) -> bool:
    """Whether the tags of a NIC or disk with a name of the order's batch name another deployment."""
    return bool((resource.get("tags") or {}).get(names.OWNER_TAG, order["owner"]) != order["owner"])


def of_batches(known: Sequence[Ownership]) -> dict[int, Ownership]:
    """The batches on whose deployment and deadline all owned resources agree."""
    batches: dict[int, set[Ownership]] = {}
    for one in known:
        if one.owner is not None:
            batches.setdefault(one.batch_id, set()).add(replace(one, keep=False))
    kept = {one.batch_id for one in known if one.keep}
    return {
        batch_id: replace(found.pop(), keep=batch_id in kept)
        for batch_id, found in batches.items()
        if len(found) == 1
    }


def _from_tags(tags: Mapping[str, str], batch_id: int) -> Ownership:
    if names.BATCH_TAG not in tags:
        return Ownership(batch_id)
    if tags[names.BATCH_TAG] != str(batch_id):
        raise ValueError("the name contradicts the batch tag")
    deadline = tags.get(names.DEADLINE_TAG)
    return Ownership(
        batch_id,
        tags.get(names.OWNER_TAG),
        None if deadline is None else _parse_time(deadline),
        names.KEEP_TAG in tags,
    )


def _parse_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("deadline without a time zone")
    return time
