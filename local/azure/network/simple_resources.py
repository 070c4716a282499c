"""NAT gateways, public addresses and security groups: resources with little behaviour of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError, invalid_reference
from local.azure.arm.operations import Operations
from local.azure.arm.resources import Json, Resource, check_conditions
from local.azure.arm.schema import NAT_GATEWAY, NETWORK_SECURITY_GROUP, PUBLIC_IP, Schema
from local.azure.arm.validation import check
from local.azure.cloud import Cloud
from local.azure.network.provider import NetworkProvider, check_name, new_body, reference


@dataclass(frozen=True)
class Part:
    """One of these types."""

    type: str
    schema: Schema
    latency: str
    in_use: str
    """Code of the refusal to delete one that is in use."""


PARTS = (
    Part("Microsoft.Network/natGateways", NAT_GATEWAY, "nat.put", "InUseNatGatewayCannotBeDeleted"),
    Part(
        "Microsoft.Network/publicIPAddresses", PUBLIC_IP, "ip.put", "PublicIPAddressCannotBeDeleted"
    ),
    Part(
        "Microsoft.Network/networkSecurityGroups",
        NETWORK_SECURITY_GROUP,
        "nsg.put",
        "InUseNetworkSecurityGroupCannotBeDeleted",
    ),
)


class NetworkParts(NetworkProvider):
    """GET, PUT, DELETE and list of every `Part`."""

    def __init__(self, cloud: Cloud, operations: Operations) -> None:
        super().__init__(cloud, operations)
        self._addresses = itertools.count(1)

    def routes(self) -> list[Route]:
        """Four routes a type."""
        routes: list[Route] = []
        for part in PARTS:
            routes += [
                Route("PUT", part.type, self._bind(self._put, part)),
                Route("GET", part.type, self.get),
                Route("DELETE", part.type, self._bind(self._delete, part)),
                Route("GET", part.type, self.list, collection=True),
            ]
        return routes

    @staticmethod
    def _bind(handler: Callable[[Part, Call], Any], part: Part) -> Callable[[Call], Any]:
        return lambda call: handler(part, call)

    async def _put(self, part: Part, call: Call) -> Reply:
        body = check(call.request.body, part.schema)
        check_name(call.target.name)
        await self.answer_wait(part.latency, call.target.name)
        existing = self.cloud.store.find(call.target.path)
        check_conditions(call.request.headers, existing)
        properties = body.get("properties") or {}
        for address in properties.get("publicIpAddresses") or []:
            if self.cloud.store.find(address["id"]) is None:
                raise invalid_reference(address["id"], call.target.path)
        resource = existing or Resource(call.target, {})
        before = resource.body.get("properties", {})
        resource.body = new_body(call, part.type, body)
        for member in ("ipAddress", "ipConfiguration", "resourceGuid"):
            if member in before:
                resource.properties[member] = before[member]
        if part.schema is PUBLIC_IP:
            self._give_address(resource.properties)
        self.cloud.store.add(resource)
        return self.settle(call, (resource,), part.latency, created=existing is None)

    def _give_address(self, properties: Json) -> None:
        properties.setdefault("publicIPAllocationMethod", "Dynamic")
        properties.setdefault("idleTimeoutInMinutes", 4)
        if "ipAddress" not in properties and properties["publicIPAllocationMethod"] == "Static":
            number = next(self._addresses)
            # TEST-NET-3 and its like are too small; 198.18.0.0/15 is set apart for benchmarks.
            properties["ipAddress"] = f"198.18.{number // 256 % 256}.{number % 256}"

    async def _delete(self, part: Part, call: Call) -> Reply:
        await self.cloud.wait("delete", call.target.name)
        resource = self.cloud.store.find(call.target.path)
        if resource is None:
            return Reply(204)
        user = self._user(resource)
        if user is not None:
            raise ArmError(
                400,
                part.in_use,
                f"{part.type.rpartition('/')[2]} {resource.id} cannot be deleted since it is in use by "
                f"{user}. Dissociate it first.",
            )
        return await self.remove(call, resource, lambda: self.cloud.store.remove(resource))

    def _user(self, resource: Resource) -> str | None:
        """The id of something that refers to the resource."""
        held = reference(resource.properties, "ipConfiguration")
        if held:
            return held
        for other in self.cloud.store:
            properties = other.body.get("properties") or {}
            referred = [reference(properties, m) for m in ("natGateway", "networkSecurityGroup")]
            referred += [a["id"] for a in properties.get("publicIpAddresses") or []]
            if resource.target.key in (id_.lower() for id_ in referred if id_):
                return other.id
        return None
