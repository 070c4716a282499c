"""What the checks go by: everything that Azure and the database say, asked for side by side.

GETs and one SELECT only. Each look has its own deadline, and one that fails leaves a `Missing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from azure.core.exceptions import AzureError

from fleet.azure import virtual_machines
from fleet.azure.bodies import Body
from fleet.azure.client import Azure
from fleet.azure.errors import describe
from fleet.model import failure_policy, names
from fleet.model.failure import DescribedError
from fleet.model.placement import tiers
from fleet.model.records import Failure, Order, Placement, Size, Trials
from fleet.settings import PUBLIC_CLOUD
from fleet.store import schema, trials, vm_records
from fleet.store.database import DatabaseUnreachable
from fleet.vm.render import CustomDataTooLarge

T = TypeVar("T")

LOOK_SECONDS = 20.0
"""Of one look. The SKUs of a region are a megabyte, for which Azure takes its time."""


@dataclass(frozen=True, slots=True)
class Missing:
    """In place of what could not be seen."""

    error: Exception

    @property
    def failure(self) -> Failure:
        return describe(self.error)

    @property
    def passing(self) -> bool:
        """Whether the same look may succeed later. A database that does not answer counts as one
        that never will: more often than not its URI or its firewall is wrong.
        """
        unreachable = isinstance(self.error, DatabaseUnreachable)
        return not unreachable and failure_policy.of(self.failure).retried


@dataclass(frozen=True, slots=True)
class Network:
    """A virtual network that stands, and how many of its subnets' addresses are in use."""

    body: Body
    usages: list[Body] | Missing

    def subnet(self, subnet_id: str) -> Body | None:
        """The subnet with this ARM id, or None."""
        return _by_id(self.body["properties"].get("subnets", []), subnet_id)

    def usage(self, subnet_id: str) -> Body | None:
        """`{currentValue, limit}` of the subnet with this ARM id, or None."""
        return None if isinstance(self.usages, Missing) else _by_id(self.usages, subnet_id)


@dataclass(frozen=True)
class Region:
    """What there is to know of one location."""

    skus: list[Body] | Missing
    usages: list[Body] | Missing
    network: Network | Missing | None
    """The order's network there; None where none stands."""


@dataclass(frozen=True)
class Survey:
    """An order, with its location where that is known, and what was seen for it."""

    order: Order
    group: Body | Missing
    trials: Trials | Missing | None
    """None: the database has no such experiment."""
    regions: dict[str, Region]
    """By location; empty while the order's own location is not known."""
    permissions: dict[str, list[Body] | Missing]
    """By scope (an ARM id)."""
    assignments: int | Missing
    """How many role assignments the subscription holds."""
    custom_data_fault: str | None
    neighbour: int | Missing | None
    """Another batch with the same runner ids."""
    schema: int | Missing
    """The version of our tables in the database."""

    @cached_property
    def wanted(self) -> int:
        """VMs worth making: no more than trials are left."""
        asked, seen = self.order["n_instances"], self.trials
        if seen is None or isinstance(seen, Missing):
            return asked
        return min(asked, max(1, seen["ready"] + seen["running"]))

    @property
    def least(self) -> int:
        """With fewer VMs than this the fleet fails: min_instances, where so many are worth making."""
        return min(self.order["min_instances"], self.wanted)

    @cached_property
    def tiers(self) -> list[list[Placement]]:
        return tiers(self.order)

    @cached_property
    def placements(self) -> list[Placement]:
        return [placement for tier in self.tiers for placement in tier]

    @cached_property
    def sizes(self) -> dict[str, Size]:
        """The VM sizes of the order's places, as far as the SKUs know them."""
        skus = {
            placement["vm_size"]: sku
            for placement in self.placements
            if (sku := self.sku(placement))
        }
        return {
            name: {"family": sku["family"].strip(), "vcpus": int(capabilities(sku)["vCPUs"])}
            for name, sku in skus.items()
            if "vCPUs" in capabilities(sku)
        }

    def sku(self, placement: Placement) -> Body | None:
        """The SKU of a place's size in its location; None where it is not offered or not known."""
        region = self.regions.get(placement["location"])
        if region is None or isinstance(region.skus, Missing):
            return None
        wanted = placement["vm_size"].lower()
        return next((sku for sku in region.skus if sku["name"].lower() == wanted), None)


def capabilities(sku: Body) -> dict[str, str]:
    """What a SKU can do, by name ("vCPUs": "16", "LowPriorityCapable": "True")."""
    return {item["name"]: item["value"] for item in sku.get("capabilities", [])}


def network_id(order: Order, location: str) -> str:
    """The ARM id of the order's virtual network there."""
    return virtual_machines.subnet_id(order, location).rpartition("/subnets/")[0]


def scopes(order: Order) -> list[str]:
    """The ARM ids at which the app needs rights: the group, the resource_uris, the user's network."""
    group = names.resource_group_id(order["subscription_id"], order["resource_group"])
    theirs = [order["subnet_id"]] if order["subnet_id"] else []
    return [group, *order["resource_uris"], *theirs]


async def take(connection: Azure, uri: str, order: Order) -> Survey:
    """Look at all that the checks need. Raises nothing that a look may meet."""
    # The regions wait for the group where it is the group that says which ones they are.
    group = asyncio.ensure_future(_look(connection.resource_group()))
    seen, regions, permissions, assignments, database = await asyncio.gather(
        group,
        _regions(connection, order, group),
        _permissions(connection, scopes(order)),
        _look(connection.count_assignments()),
        asyncio.gather(
            _look(asyncio.to_thread(trials.count, uri, order["experiment_id"])),
            _look(asyncio.to_thread(vm_records.neighbour, uri, order)),
            _look(asyncio.to_thread(schema.version, uri)),
        ),
    )
    counted, neighbour, version = database
    located: Order = {**order, "location": _location(order, seen)}
    return Survey(
        order=located,
        group=seen,
        trials=counted,
        regions=regions,
        permissions=permissions,
        assignments=assignments,
        custom_data_fault=_custom_data_fault(order, uri),
        neighbour=neighbour,
        schema=version,
    )


async def _regions(
    connection: Azure, order: Order, group: Awaitable[Body | Missing]
) -> dict[str, Region]:
    home = order["location"] or _location(order, await group)
    if home is None:
        return {}
    located: Order = {**order, "location": home}
    wanted = {placement["location"]: None for tier in tiers(located) for placement in tier}
    found = await asyncio.gather(*(_region(connection, located, placement) for placement in wanted))
    return dict(zip(wanted, found, strict=True))


async def _region(connection: Azure, order: Order, location: str) -> Region:
    skus, usages, network = await asyncio.gather(
        _look(connection.list_skus(location)),
        _look(connection.list_usages(location)),
        _look(_network(connection, network_id(order, location))),
    )
    return Region(skus, usages, network)


async def _network(connection: Azure, network: str) -> Network | None:
    body = await connection.get_network(network)
    if body is None:
        return None
    return Network(body, await _look(connection.list_network_usages(network)))


async def _permissions(connection: Azure, at: Sequence[str]) -> dict[str, list[Body] | Missing]:
    looks = (_look(connection.list_permissions(scope)) for scope in at)
    return dict(zip(at, await asyncio.gather(*looks), strict=True))


async def _look(call: Awaitable[T]) -> T | Missing:
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await call
    except TimeoutError:
        return Missing(TimeoutError(f"There was no answer within {LOOK_SECONDS:g} seconds."))
    except (AzureError, DescribedError, ValueError) as error:
        return Missing(error)


def _location(order: Order, group: Body | Missing) -> str | None:
    if order["location"] or isinstance(group, Missing):
        return order["location"]
    return str(group["location"])


def _custom_data_fault(order: Order, uri: str) -> str | None:
    try:
        virtual_machines.startup_data(order, 0, uri, PUBLIC_CLOUD)
    except CustomDataTooLarge as error:
        return str(error)
    return None


def _by_id(items: list[Any], wanted: str) -> Body | None:
    return next((item for item in items if item["id"].lower() == wanted.lower()), None)
