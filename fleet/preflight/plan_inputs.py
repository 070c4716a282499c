"""The inputs of all checks, read concurrently from Azure and the database.

Read-only. Each read has its own timeout; a failed read becomes `Unavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from fleet.azure import ownership, virtual_machines
from fleet.azure.arm_bodies import Body
from fleet.azure.client import AssignmentUsage, Azure
from fleet.model import names
from fleet.model.database_uri import database_of
from fleet.model.images import Image, definition_of, is_private
from fleet.model.order_parts import VmOptions
from fleet.model.placement import tiers
from fleet.model.records import Order, Placement, Price, Size, Trials
from fleet.preflight.image_inputs import OneVersion, one_version, read_image
from fleet.preflight.prices import find_prices
from fleet.preflight.reads import CHAIN_TIMEOUT, fetch
from fleet.preflight.reads import Unavailable as Unavailable  # re-exported
from fleet.secrets import Seal
from fleet.settings import PUBLIC_CLOUD, Settings
from fleet.store import claims, schema, trials, vm_records
from fleet.store.executors import OWN, Executor
from fleet.store.trials import Experiment
from fleet.vm.render import CustomDataTooLarge


@dataclass(frozen=True, slots=True)
class Network:
    """An existing virtual network, with the address usage of its subnets."""

    body: Body
    usages: list[Body] | Unavailable

    def subnet(self, subnet_id: str) -> Body | None:
        """The subnet with this ARM ID, or None."""
        return _by_id(self.body["properties"].get("subnets", []), subnet_id)

    def usage(self, subnet_id: str) -> Body | None:
        """`{currentValue, limit}` of the subnet with this ARM ID, or None."""
        return None if isinstance(self.usages, Unavailable) else _by_id(self.usages, subnet_id)


@dataclass(frozen=True)
class Region:
    """The inputs of one location."""

    skus: list[Body] | Unavailable
    usages: list[Body] | Unavailable
    network: Network | Unavailable | None
    """The order's virtual network; None if it does not exist."""
    image: Body | Unavailable | None
    """The version of the order's image; None if it does not exist, or not in the location."""
    newest_image: str | None = None
    """The newest version in the location, where the request leaves it open."""


@dataclass(frozen=True)
class PlanInputs:
    """An order, with its location if known, and what was read for it."""

    order: Order
    group: Body | Unavailable
    trials: Trials | Unavailable | None
    """None: the experiment does not exist."""
    other_fleets: list[str] | Unavailable
    """The other fleets that run the experiment, as `claims.other_fleets` finds them."""
    experiment: Experiment | Unavailable | None
    """What the experiment's VMs install and run; None if it does not exist."""
    regions: dict[str, Region]
    """By location; empty if the order's location is unknown."""
    permissions: dict[str, list[Body] | Unavailable]
    """By scope (an ARM ID)."""
    assignments: AssignmentUsage | Unavailable
    vm_role: Body | Unavailable | None
    """The definition of the VMs' role at themselves; None if it does not exist."""
    size_limits: list[str]
    """The deployment's settings that limit sizes or cost, and with them the size of a VM."""
    client: str | Unavailable | None
    """The object ID of the service principal that gets a role on each VM, because the request has its
    application's secret; None if the request names the principal, or none gets a role."""
    custom_data_fault: str | None
    conflicting_batch: int | Unavailable | None
    """Another batch with the same runner IDs."""
    foreign_nics: list[str] | Unavailable
    """Names of NICs that have a name of the batch and belong to another deployment."""
    schema: int | Unavailable
    """The version of the app's tables in the database."""
    prices: dict[str, Price]
    """The known prices of the placements, by `costs.price_key`."""
    mean_seconds: float | Unavailable | None
    """The mean duration of the experiment's successful trials; None without any."""
    cost_limit: float | None
    """What the deployment allows a fleet to cost, in US dollars; None: no limit."""
    cost_settings: list[str]
    """The deployment's settings that limit cost, which requires prices."""

    @cached_property
    def wanted(self) -> int:
        """The VMs to provision: at most one per unfinished trial, or group of trials."""
        asked, seen, experiment = self.order["n_instances"], self.trials, self.experiment
        if seen is None or isinstance(seen, Unavailable):
            return asked
        most = seen["ready"] + seen["running"]
        is_paired = self.order.get("trial_order") == "paired"
        if is_paired and experiment is not None and not isinstance(experiment, Unavailable):
            most = min(most, experiment["open_groups"])
        return min(asked, max(1, most))

    @property
    def minimum(self) -> int:
        """The fleet fails with fewer VMs: min_instances, capped at `wanted`."""
        return min(self.order["min_instances"], self.wanted)

    @cached_property
    def tiers(self) -> list[list[Placement]]:
        return tiers(self.order)

    @cached_property
    def placements(self) -> list[Placement]:
        return [placement for tier in self.tiers for placement in tier]

    @cached_property
    def sizes(self) -> dict[str, Size]:
        """The VM sizes of the order's placements that the SKUs list."""
        skus = {
            placement["vm_size"]: sku
            for placement in self.placements
            if (sku := self.sku(placement))
        }
        return {
            name: {
                "family": sku["family"].strip(),
                "vcpus": int(capabilities(sku)["vCPUs"]),
                "architecture": capabilities(sku).get("CpuArchitectureType", ""),
            }
            for name, sku in skus.items()
            if "vCPUs" in capabilities(sku)
        }

    def sku(self, placement: Placement) -> Body | None:
        """The SKU of a placement's size in its location; None if not offered or unknown."""
        return find_sku(self.regions, placement)


def find_sku(regions: dict[str, Region], placement: Placement) -> Body | None:
    """As `PlanInputs.sku`."""
    region = regions.get(placement["location"])
    if region is None or isinstance(region.skus, Unavailable):
        return None
    wanted = placement["vm_size"].lower()
    return next((sku for sku in region.skus if sku["name"].lower() == wanted), None)


def capabilities(sku: Body) -> dict[str, str]:
    """A SKU's capabilities by name: "vCPUs": "16", "LowPriorityCapable": "True"."""
    return {item["name"]: item["value"] for item in sku.get("capabilities", [])}


def network_id(order: Order, location: str) -> str:
    """The ARM ID of the order's virtual network in a location."""
    return virtual_machines.subnet_id(order, location).rpartition("/subnets/")[0]


def scopes(order: Order) -> list[str]:
    """The scopes at which the app needs permissions: group, resource_uris, subnet_id, vm_identity,
    image_id."""
    group = names.resource_group_id(order["subscription_id"], order["resource_group"])
    subnet = [order["subnet_id"]] if order["subnet_id"] else []
    identity = [order["vm_identity"]["id"]] if "vm_identity" in order else []
    return [group, *order["resource_uris"], *subnet, *identity, *gallery_scopes(order)]


def gallery_scopes(order: Order) -> list[str]:
    """The image of a private gallery. No role is needed at those of others that share theirs."""
    image = order["vm"]["image"]
    return [definition_of(image["id"])] if "id" in image and is_private(image["id"]) else []


async def collect(connection: Azure, uri: str, order: Order, threads: Executor) -> PlanInputs:
    """Read everything that the checks need, the database with `threads`. Failed reads become
    `Unavailable`."""
    if virtual_machines.database_identity(order, uri) is None:
        order = cast(Order, {key: value for key, value in order.items() if key != "vm_identity"})
    # Without a location in the order, the regions depend on the resource group's location.
    group = asyncio.ensure_future(fetch(connection.resource_group()))
    role = order.get("vm_role", names.CONTRIBUTOR)
    seen, (image, regions), permissions, azure, database = await asyncio.gather(
        group,
        _regions(connection, order, group),
        _permissions(connection, scopes(order)),
        asyncio.gather(
            fetch(connection.assignment_usage()),
            fetch(connection.get_role(role)),
            fetch(_foreign_nics(connection, order)),
            fetch(_client(connection, order)),
        ),
        asyncio.gather(
            fetch(threads.run(trials.count, uri, order["experiment_id"])),
            fetch(_other_fleets(uri, order)),
            fetch(threads.run(trials.experiment, uri, order["experiment_id"])),
            fetch(threads.run(trials.mean_seconds, uri, order["experiment_id"])),
            fetch(threads.run(vm_records.conflicting_batch, uri, order)),
            fetch(threads.run(schema.version, uri, schema.BENCHMARK)),
        ),
    )
    assignments, vm_role, foreign_nics, client = azure
    counted, other_fleets, experiment, mean_seconds, conflicting_batch, version = database
    vm: VmOptions = {**order["vm"], "image": image}
    located: Order = {**order, "location": _location(order, seen), "vm": vm}
    if isinstance(client, str):
        located["client_principal_id"] = client
        located["client_principal_type"] = "ServicePrincipal"
    policy = Settings.read().policy
    return PlanInputs(
        order=located,
        group=seen,
        trials=counted,
        other_fleets=other_fleets,
        experiment=experiment,
        regions=regions,
        permissions=permissions,
        assignments=assignments,
        vm_role=vm_role,
        size_limits=policy.size_limits(),
        client=client,
        custom_data_fault=_custom_data_fault(order, uri),
        conflicting_batch=conflicting_batch,
        foreign_nics=foreign_nics,
        schema=version,
        prices=await _prices(located, regions, threads),
        mean_seconds=mean_seconds,
        cost_limit=policy.max_cost,
        cost_settings=policy.cost_limits(),
    )


async def _prices(order: Order, regions: dict[str, Region], threads: Executor) -> dict[str, Price]:
    """Sizes are looked up as Azure spells them: the price list is case-sensitive."""
    if order["location"] is None:
        return {}
    places = [one for tier in tiers(order) for one in tier]
    spelled = [
        {**one, "vm_size": sku["name"] if (sku := find_sku(regions, one)) else one["vm_size"]}
        for one in places
    ]
    return await find_prices(cast(list[Placement], spelled), order["vm"], threads)


async def _regions(
    connection: Azure, order: Order, group: Awaitable[Body | Unavailable]
) -> tuple[Image, dict[str, Region]]:
    """The image in the version that all VMs boot, and the inputs of each location."""
    until = asyncio.get_running_loop().time() + CHAIN_TIMEOUT
    image, home = order["vm"]["image"], order["location"] or _location(order, await group)
    if home is None:
        return image, {}
    located: Order = {**order, "location": home}
    wanted = {placement["location"]: None for tier in tiers(located) for placement in tier}
    resolved = asyncio.ensure_future(one_version(connection, image, list(wanted), until))
    regions = (_region(connection, located, one, resolved, until) for one in wanted)
    found = await asyncio.gather(*regions)
    return (await resolved).image, dict(zip(wanted, found, strict=True))


async def _region(
    connection: Azure,
    order: Order,
    location: str,
    resolved: Awaitable[OneVersion],
    until: float,
) -> Region:
    skus, usages, network, (image, newest) = await asyncio.gather(
        fetch(connection.list_skus(location), until),
        fetch(connection.list_usages(location), until),
        fetch(_network(connection, network_id(order, location)), until),
        read_image(connection, location, resolved, until),
    )
    return Region(skus, usages, network, image, newest)


async def _network(connection: Azure, network: str) -> Network | None:
    body = await connection.get_network(network)
    if body is None:
        return None
    return Network(body, await fetch(connection.list_network_usages(network)))


async def _foreign_nics(connection: Azure, order: Order) -> list[str]:
    found = (await connection.list_batch("nic", order["batch_id"])).values()
    return sorted(str(nic["name"]) for nic in found if ownership.is_foreign(nic, order))


async def _other_fleets(uri: str, order: Order) -> list[str]:
    settings = Settings.read()
    databases = Seal(settings.sealing_keys).fingerprints(database_of(uri))
    task = (settings.database_uri, order["experiment_id"], order["batch_id"], databases)
    return await OWN.run(claims.other_fleets, *task)


async def _client(connection: Azure, order: Order) -> str | None:
    if order["client_principal_id"] or not order["client_id"]:
        return None
    return await connection.object_id()


async def _permissions(connection: Azure, at: Sequence[str]) -> dict[str, list[Body] | Unavailable]:
    reads = (fetch(connection.list_permissions(scope)) for scope in at)
    return dict(zip(at, await asyncio.gather(*reads), strict=True))


def _location(order: Order, group: Body | Unavailable) -> str | None:
    if order["location"] or isinstance(group, Unavailable):
        return order["location"]
    return str(group["location"])


def _custom_data_fault(order: Order, uri: str) -> str | None:
    try:
        virtual_machines.startup_data(order, 0, tiers(order)[0][0], uri, PUBLIC_CLOUD)
    except CustomDataTooLarge as error:
        return str(error)
    return None


def _by_id(items: list[Any], wanted: str) -> Body | None:
    return next((item for item in items if item["id"].lower() == wanted.lower()), None)
