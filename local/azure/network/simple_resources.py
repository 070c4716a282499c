"""NAT gateways, public IP addresses and network security groups, which share their behaviour."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import ArmError, invalid_reference
from local.azure.arm.resources import Json, Resource, check_conditions
from local.azure.arm.schema import NAT_GATEWAY, NETWORK_SECURITY_GROUP, PUBLIC_IP, Schema
from local.azure.arm.validation import validate
from local.azure.network.provider import NetworkProvider, check_name, new_body, reference
from local.azure.network.security_rules import checked_rules, default_rules


@dataclass(frozen=True)
class Kind:
    """A resource type, and where it differs from the others."""

    type: str
    schema: Schema
    latency: str
    in_use: str
    """Error code when a resource in use is deleted."""


KINDS = (
    Kind("Microsoft.Network/natGateways", NAT_GATEWAY, "nat.put", "InUseNatGatewayCannotBeDeleted"),
    Kind(
        "Microsoft.Network/publicIPAddresses", PUBLIC_IP, "ip.put", "PublicIPAddressCannotBeDeleted"
    ),
    Kind(
        "Microsoft.Network/networkSecurityGroups",
        NETWORK_SECURITY_GROUP,
        "nsg.put",
        "InUseNetworkSecurityGroupCannotBeDeleted",
    ),
)


class SimpleResources(NetworkProvider):
    """GET, PUT, DELETE and list of every type in `KINDS`."""

    def routes(self) -> list[Route]:
        routes: list[Route] = []
        for kind in KINDS:
            routes += [
                Route("PUT", kind.type, self._bind(self._put, kind)),
                Route("GET", kind.type, self.get),
                Route("DELETE", kind.type, self._bind(self._delete, kind)),
                Route("GET", kind.type, self.list, collection=True),
            ]
        return routes

    @staticmethod
    def _bind(handler: Callable[[Kind, Call], Any], kind: Kind) -> Callable[[Call], Any]:
        return lambda call: handler(kind, call)

    async def _put(self, kind: Kind, call: Call) -> Reply:
        body = validate(call.request.body, kind.schema)
        check_name(call.target.name)
        await self.wait_for_response(kind.latency, call.target.name)
        existing = self.cloud.store.find(call.target.path)
        check_conditions(call.request.headers, existing)
        properties = dict(body.get("properties") or {})
        for address in properties.get("publicIpAddresses") or []:
            if self.cloud.store.find(address["id"]) is None:
                raise invalid_reference(address["id"], call.target.path)
        if kind.schema is NETWORK_SECURITY_GROUP:
            rules = checked_rules(call.target.path, properties.get("securityRules") or [])
            defaults = default_rules(call.target.path)
            properties |= {"securityRules": rules, "defaultSecurityRules": defaults}
            body = {**body, "properties": properties}
        resource = existing or Resource(call.target, {})
        before = resource.body.get("properties", {})
        resource.body = new_body(call, kind.type, body)
        for member in ("ipAddress", "ipConfiguration", "resourceGuid"):
            if member in before:
                resource.properties[member] = before[member]
        if kind.schema is PUBLIC_IP:
            self._assign_address(resource.properties)
        self.cloud.store.add(resource)
        return self.start_put(call, (resource,), kind.latency, created=existing is None)

    def _assign_address(self, properties: Json) -> None:
        properties.setdefault("publicIPAllocationMethod", "Dynamic")
        properties.setdefault("idleTimeoutInMinutes", 4)
        if "ipAddress" not in properties and properties["publicIPAllocationMethod"] == "Static":
            used = {(one.body.get("properties") or {}).get("ipAddress") for one in self.cloud.store}
            addresses = map(_address, itertools.count(1))
            properties["ipAddress"] = next(one for one in addresses if one not in used)

    async def _delete(self, kind: Kind, call: Call) -> Reply:
        await self.cloud.wait("delete", call.target.name)
        resource = self.cloud.store.find(call.target.path)
        if resource is None:
            return Reply(204)
        user = self._user_of(resource)
        if user is not None:
            raise ArmError(
                400,
                kind.in_use,
                f"{kind.type.rpartition('/')[2]} {resource.id} cannot be deleted since it is in use by "
                f"{user}. Dissociate it first.",
            )
        return self.start_delete(call, resource, lambda: self.cloud.store.remove(resource))

    def _user_of(self, resource: Resource) -> str | None:
        """The id of a resource that refers to this one, or None."""
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


def _address(number: int) -> str:
    """198.18.0.0/15 is reserved for benchmarks; the documentation ranges are too small."""
    return f"198.18.{number // 256 % 256}.{number % 256}"
