"""Virtual networks and their subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError, missing_parameter
from local.azure.arm.resources import Json, Resource, Target, check_conditions, parse_id
from local.azure.arm.schema import SUBNET, VIRTUAL_NETWORK
from local.azure.arm.validation import validate
from local.azure.faults.azure_errors import azure_error
from local.azure.network.provider import NetworkProvider, check_name, new_body, reference

_TYPE = "Microsoft.Network/virtualNetworks"
_SUBNET_TYPE = f"{_TYPE}/subnets"
_USAGES_TYPE = f"{_TYPE}/usages"

PRIVATE_SINCE = "2025-07-01"
"""The first api-version in which new subnets are private (azure-networking-blog 4513778)."""
_KEEPS_SUBNETS_SINCE = "2023-09-01"
_RESERVED_FIRST, _RESERVED_LAST = 4, 1


@dataclass
class Subnet(Resource):
    """A subnet and its address leases."""

    leases: dict[str, ipaddress.IPv4Address] = field(default_factory=dict)
    """IP configuration id -> address."""

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The (first) address prefix."""
        return ipaddress.IPv4Network(_prefix_of(self.properties))

    @property
    def private(self) -> bool:
        """Whether there is no default outbound access."""
        return self.properties.get("defaultOutboundAccess") is False

    @property
    def usage(self) -> Json:
        """Its addresses in use. The limit excludes those that Azure reserves: 251 for a /24 (the
        example of Get-AzVirtualNetworkUsageList).
        """
        return {
            "currentValue": float(len(self.leases)),
            "id": self.id,
            "limit": float(self.network.num_addresses - _RESERVED_FIRST - _RESERVED_LAST),
            "name": {"localizedValue": "Subnet size and usage", "value": "SubnetSpace"},
            "unit": "Count",
        }

    def lease(self, holder: str) -> ipaddress.IPv4Address:
        """Lease the lowest free address, from .4 on. Raises ArmError 400 SubnetIsFull."""
        if holder in self.leases:
            return self.leases[holder]
        network = self.network
        first, taken = int(network[0]), {int(address) for address in self.leases.values()}
        for at in range(_RESERVED_FIRST, network.num_addresses - _RESERVED_LAST):
            if first + at not in taken:
                self.leases[holder] = network[at]
                return network[at]
        raise azure_error("SubnetIsFull", subnet_name=self.name, prefix=str(network))


class VirtualNetworks(NetworkProvider):
    """Microsoft.Network/virtualNetworks and their subnets."""

    def routes(self) -> list[Route]:
        return [
            Route("PUT", _TYPE, self._put),
            Route("GET", _TYPE, self.get),
            Route("DELETE", _TYPE, self._delete),
            Route("GET", _TYPE, self.list, collection=True),
            Route("PUT", _SUBNET_TYPE, self._put_subnet),
            Route("GET", _SUBNET_TYPE, self.get),
            Route("DELETE", _SUBNET_TYPE, self._delete_subnet),
            Route("GET", _SUBNET_TYPE, self.list, collection=True),
            Route("GET", _USAGES_TYPE, self._usages, collection=True),
        ]

    def render(self, resource: Resource) -> Json:
        """A subnet with its IP configurations, a network with its subnets."""
        body = super().render(resource)
        if isinstance(resource, Subnet):
            configurations = {"ipConfigurations": [{"id": holder} for holder in resource.leases]}
            return {
                **body,
                "properties": {**body["properties"], **(configurations if resource.leases else {})},
            }
        subnets = [self.render(subnet) for subnet in self._subnets(resource)]
        return {**body, "properties": {**body["properties"], "subnets": subnets}}

    def _subnets(self, network: Resource) -> Iterator[Subnet]:
        prefix = f"{network.target.key}/subnets/"
        for resource in self.cloud.store:
            if isinstance(resource, Subnet) and resource.target.key.startswith(prefix):
                yield resource

    async def _usages(self, call: Call) -> Reply:
        network = self.cloud.store.owner(call.target)
        return Reply(200, {"value": [subnet.usage for subnet in self._subnets(network)]})

    async def _put(self, call: Call) -> Reply:
        body = validate(call.request.body, VIRTUAL_NETWORK)
        check_name(call.target.name)
        prefixes = [
            _parse(p, call.target) for p in body["properties"]["addressSpace"]["addressPrefixes"]
        ]
        wanted = self._wanted_subnets(call, body)
        await self.wait_for_response("vnet.put", call.target.name)
        existing = self.cloud.store.find(call.target.path)
        check_conditions(call.request.headers, existing)
        if existing is not None:
            _check_not_changing(existing)
        network = existing or Resource(call.target, {})
        kept = [] if existing is None else list(self._subnets(existing))
        dropped = [] if wanted is None else [s for s in kept if s.name.lower() not in wanted]
        for subnet in dropped:
            _check_unused(subnet)
        subnets = self._plan(call, network, kept, dropped, wanted or {}, prefixes)
        for subnet in dropped:
            self.cloud.store.remove(subnet)
        network.body = new_body(call, _TYPE, body)
        network.properties.pop("subnets", None)
        network.properties.setdefault("enableDdosProtection", False)
        network.properties.setdefault("virtualNetworkPeerings", [])
        for resource in (network, *subnets):
            self.cloud.store.add(resource)
        return self.start_put(call, (network, *subnets), "vnet.put", created=existing is None)

    def _wanted_subnets(self, call: Call, body: Json) -> dict[str, Json] | None:
        """The subnets in a network's PUT by lower-cased name; None keeps the existing ones."""
        listed = body["properties"].get("subnets")
        if listed is None:
            return None if call.api_version >= _KEEPS_SUBNETS_SINCE else {}
        for at, subnet in enumerate(listed):
            if not subnet.get("name"):
                raise missing_parameter(f"properties.subnets[{at}].name")
        return {subnet["name"].lower(): subnet for subnet in listed}

    def _plan(
        self, call: Call, network: Resource, kept: list[Subnet], dropped: list[Subnet],
        wanted: dict[str, Json], prefixes: list[ipaddress.IPv4Network],
    ) -> list[Subnet]:  # fmt: skip
        """The subnets after the PUT, validated against each other, and not stored yet."""
        others = [s for s in kept if s not in dropped and s.name.lower() not in wanted]
        planned: list[Subnet] = []
        for subnet_body in wanted.values():
            target = parse_id(f"{network.target.path}/subnets/{subnet_body['name']}")
            before = next((s for s in kept if s.target.key == target.key), None)
            planned.append(self._subnet(call, target, subnet_body, before))
            _check_fits(planned[-1], network.target.name, prefixes, [*others, *planned[:-1]])
        return planned

    async def _put_subnet(self, call: Call) -> Reply:
        body = validate(call.request.body, SUBNET)
        check_name(call.target.name)
        await self.wait_for_response("subnet.put", call.target.name)
        network = self.cloud.store.find(call.target.parent)
        if network is None:
            raise self.cloud.store.not_found(parse_id(call.target.parent))
        siblings = [s for s in self._subnets(network) if s.target.key != call.target.key]
        for resource in (network, *siblings):
            _check_not_changing(resource)
        existing = self.cloud.store.find(call.target.path)
        check_conditions(call.request.headers, existing)
        before = existing if isinstance(existing, Subnet) else None
        subnet = self._subnet(call, call.target, body, before)
        space = network.properties["addressSpace"]["addressPrefixes"]
        _check_fits(subnet, network.name, [_parse(p, network.target) for p in space], siblings)
        self.cloud.store.add(subnet)
        return self.start_put(call, (subnet,), "subnet.put", created=existing is None)

    def _subnet(self, call: Call, target: Target, body: Json, before: Subnet | None) -> Subnet:
        """The subnet after its PUT."""
        properties = dict(body.get("properties") or {})
        if not (properties.get("addressPrefix") or properties.get("addressPrefixes")):
            raise missing_parameter("properties.addressPrefix")
        _parse(_prefix_of(properties), target)
        for member in ("natGateway", "networkSecurityGroup"):
            id_ = reference(properties, member)
            if id_:
                self.check_reference(id_, target.path, self._location(call, target))
        for read_only in ("ipConfigurations", "provisioningState"):
            properties.pop(read_only, None)
        if before is not None:
            if before.leases and _prefix_of(properties) != _prefix_of(before.properties):
                raise ArmError(
                    400,
                    "InUsePrefixCannotBeDeleted",
                    f"IpPrefix {_prefix_of(before.properties)} on Subnet {before.name} has active "
                    "allocations and cannot be deleted.",
                )
        elif call.api_version >= PRIVATE_SINCE:
            properties.setdefault("defaultOutboundAccess", False)
        properties = {
            "provisioningState": "Updating",
            "delegations": [],
            "privateEndpointNetworkPolicies": "Disabled",
            "privateLinkServiceNetworkPolicies": "Enabled",
            **properties,
        }
        new = {
            "name": target.name,
            "id": target.path,
            "properties": properties,
            "type": _SUBNET_TYPE,
        }
        return Subnet(target, new, leases={} if before is None else before.leases)

    def _location(self, call: Call, subnet: Target) -> str:
        """The region of a subnet's network, which may be the one in the request."""
        network = self.cloud.store.find(subnet.parent)
        return network.location if network else str(call.request.body["location"])

    async def _delete(self, call: Call) -> Reply:
        await self.cloud.wait("delete", call.target.name)
        network = self.cloud.store.find(call.target.path)
        if network is None:
            return Reply(204)
        for subnet in self._subnets(network):
            _check_unused(subnet)

        def finish() -> None:
            for resource in (*self._subnets(network), network):
                self.cloud.store.remove(resource)

        return self.start_delete(call, network, finish)

    async def _delete_subnet(self, call: Call) -> Reply:
        await self.cloud.wait("delete", call.target.name)
        subnet = self.cloud.store.find(call.target.path)
        if not isinstance(subnet, Subnet):
            return Reply(204)
        _check_unused(subnet)
        return self.start_delete(call, subnet, lambda: self.cloud.store.remove(subnet))


def _prefix_of(properties: Json) -> str:
    return str(properties.get("addressPrefix") or properties["addressPrefixes"][0])


def _parse(prefix: str, target: Target) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(prefix)
    except ValueError:
        raise ArmError(
            400,
            "InvalidAddressPrefixFormat",
            f"Address prefix {prefix} of resource {target.path} is not formatted correctly. It should "
            "follow CIDR notation, for example 10.0.0.0/24.",
        ) from None


def _check_fits(
    subnet: Subnet, network: str, prefixes: list[ipaddress.IPv4Network], others: list[Subnet]
) -> None:
    if not any(subnet.network.subnet_of(prefix) for prefix in prefixes):
        raise ArmError(
            400,
            "NetcfgInvalidSubnet",
            f"Subnet '{subnet.name}' is not valid in virtual network '{network}'.",
        )
    if any(subnet.network.overlaps(other.network) for other in others):
        raise ArmError(
            400,
            "NetcfgSubnetRangesOverlap",
            f"Subnet '{subnet.name}' is not valid because its IP address range overlaps with that of "
            f"an existing subnet in virtual network '{network}'.",
        )


def _check_not_changing(resource: Resource) -> None:
    """A network allows one change at a time (seen with subnets created in parallel)."""
    if resource.properties["provisioningState"] in ("Updating", "Deleting"):
        raise ArmError(
            429,
            "RetryableErrorDueToAnotherOperation",
            f"Another operation on this or dependent resource is in progress: {resource.id}.",
        )


def _check_unused(subnet: Subnet) -> None:
    for holder in subnet.leases:
        raise azure_error("InUseSubnetCannotBeDeleted", name=subnet.name, nic_id=holder)
