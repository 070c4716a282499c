"""What can be left in Azure of a fleet, how it is listed, and how it is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import chain, zip_longest
from random import Random
from typing import Literal, NotRequired, TypedDict

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from fleet.azure import role_assignments
from fleet.azure.client import Azure, RoleAssignment
from fleet.model import names
from fleet.model.records import Order

Kind = Literal["machine", "assignment", "disk", "nic"]
KINDS: tuple[Kind, ...] = ("machine", "assignment", "disk", "nic")
"""In the order of deletion: a VM costs most, and takes its disk and its NIC with it."""


class Leftover(TypedDict):
    """One thing to delete."""

    kind: Kind
    name: str
    scope: NotRequired[str]
    """Of a role assignment."""


def fairly(found: Iterable[Leftover], most: int, seed: int | None = None) -> list[Leftover]:
    """`most` of what was found: in turns from each of KINDS, and drawn within a kind.

    What cannot be deleted (a lock, a right that is missing) would else take every try, and the rest
    would stay too. The same `seed` draws the same; None draws anew.
    """
    kinds: dict[Kind, list[Leftover]] = {kind: [] for kind in KINDS}
    for leftover in found:
        kinds[leftover["kind"]].append(leftover)
    chance = Random(seed)  # noqa: S311 - it guards no secret
    drawn = [chance.sample(some, len(some)) for some in kinds.values()]
    turns = chain.from_iterable(zip_longest(*drawn))
    return [leftover for leftover in turns if leftover is not None][:most]


async def delete(connection: Azure, leftover: Leftover) -> None:
    """Start its deletion; absent is fine. Raises HttpResponseError."""
    match leftover["kind"]:
        case "machine":
            await connection.delete_machine(leftover["name"])
        case "nic":
            await connection.delete_nic(leftover["name"])
        case "disk":
            await connection.delete_disk(leftover["name"])
        case "assignment":
            await connection.delete_assignment(leftover["scope"], leftover["name"])


async def list_assignments(connection: Azure, uris: Iterable[str]) -> list[RoleAssignment]:
    """The role assignments of the subscription and, wherever they are, at the `uris`.

    Where the subscription's may not be listed: those of the resource group. Raises HttpResponseError.
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


def is_of(assignment: RoleAssignment, order: Order) -> bool:
    """Whether a role assignment is for a VM of this order: by what it says, or by where it is."""
    group = names.resource_group_id(order["subscription_id"], order["resource_group"])
    about = role_assignments.described(assignment.description)
    if about is not None and (about.owner, about.batch_id) == (order["owner"], order["batch_id"]):
        return about.machine_id.lower().startswith(f"{group}/".lower())
    vm = assignment.scope.rpartition("/")[2]
    return (
        names.ordinal_of(vm, order["batch_id"]) is not None
        and assignment.scope.lower() == role_assignments.machine_id(order, vm).lower()
    )


async def _at(connection: Azure, uri: str) -> list[RoleAssignment]:
    try:
        return await connection.list_assignments(uri)
    except ResourceNotFoundError:
        return []
