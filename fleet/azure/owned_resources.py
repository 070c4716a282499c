"""The Azure resources that a fleet owns: how to list and delete them."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable
from itertools import chain, zip_longest
from random import Random
from typing import get_args

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from fleet.azure import role_assignments
from fleet.azure.client import Azure, RoleAssignment
from fleet.model import names
from fleet.model.activities import ResourceKind, ResourceRef
from fleet.model.order_parts import FleetRef

KINDS: tuple[ResourceKind, ...] = get_args(ResourceKind)


def sample_evenly(
    resources: Iterable[ResourceRef], limit: int, seed: int | None = None
) -> list[ResourceRef]:
    """Sample up to `limit` resources, round-robin over their kinds and random within a kind.

    Prevents undeletable resources (locks, missing permissions) from blocking the others. Deterministic
    for a given `seed`.
    """
    kinds: dict[ResourceKind, list[ResourceRef]] = {kind: [] for kind in KINDS}
    for ref in resources:
        kinds[ref["kind"]].append(ref)
    generator = Random(seed)  # noqa: S311 - not used for security
    shuffled = [generator.sample(some, len(some)) for some in kinds.values()]
    turns = chain.from_iterable(zip_longest(*shuffled))
    return [ref for ref in turns if ref is not None][:limit]


async def delete(connection: Azure, ref: ResourceRef) -> None:
    """Start the deletion; succeeds if the resource is absent. Raises HttpResponseError."""
    match ref["kind"]:
        case "machine":
            await connection.delete_machine(ref["name"])
        case "nic":
            await connection.delete_nic(ref["name"])
        case "disk":
            await connection.delete_disk(ref["name"])
        case "assignment":
            await connection.delete_assignment(ref["scope"], ref["name"])


async def list_assignments(connection: Azure, uris: Iterable[str]) -> list[RoleAssignment]:
    """The role assignments of the subscription and of scopes in `uris` outside it.

    Without permission to list the subscription's, those of the resource group. Raises
    HttpResponseError.
    """
    try:
        found, within = await connection.list_assignments(connection.subscription), True
    except HttpResponseError as error:
        if error.status_code != 403:
            raise
        found, within = await connection.list_assignments(connection.scope), False
    known = f"{connection.subscription if within else connection.scope}/".lower()
    elsewhere = sorted({uri for uri in uris if not f"{uri}/".lower().startswith(known)})
    pages = await asyncio.gather(*(_at(connection, uri) for uri in elsewhere))
    found += [assignment for page in pages for assignment in page]
    return list({(one.scope.lower(), one.name): one for one in found}.values())


def belongs_to(assignment: RoleAssignment, order: FleetRef, foreign: Container[int]) -> bool:
    """Whether a role assignment belongs to a VM of this order, by its description or scope.

    `foreign`: ordinals of VMs with a name of the batch that belong to another deployment.
    """
    group = names.resource_group_id(order["subscription_id"], order["resource_group"])
    about = role_assignments.parse_description(assignment.description)
    if about is not None and about.owner != order["owner"]:
        return False
    if about is not None and about.batch_id == order["batch_id"]:
        return about.machine_id.lower().startswith(f"{group}/".lower())
    vm = assignment.scope.rpartition("/")[2]
    ordinal = names.ordinal_of(vm, order["batch_id"])
    return (
        ordinal is not None
        and ordinal not in foreign
        and assignment.scope.lower() == role_assignments.machine_id(order, vm).lower()
    )


async def _at(connection: Azure, uri: str) -> list[RoleAssignment]:
    try:
        return await connection.list_assignments(uri)
    except ResourceNotFoundError:
        return []
