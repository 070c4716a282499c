"""Network interfaces: their addresses, and their attachment to VMs."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import (
    invalid_reference,
    missing_parameter,
    nic_in_use,
    nic_reserved,
)
from local.azure.arm.operations import NIC_PUT
from local.azure.arm.resources import Json, Resource, check_conditions
from local.azure.arm.schema import NETWORK_INTERFACE
from local.azure.arm.validation import validate
from local.azure.network.provider import (
    NetworkProvider,
    check_name,
    check_provisioned,
    new_body,
    reference,
)
from local.azure.network.virtual_networks import Subnet

_TYPE = "Microsoft.Network/networkInterfaces"
_CONFIGURATION_TYPE = f"{_TYPE}/ipConfigurations"

RESERVATION = 180.0
"""Seconds for which a failed or deleted VM reserves its interfaces (NicReservedForAnotherVm)."""


@dataclass
class Interface(Resource):
    """A network interface."""

    vm_id: str | None = None
    """The VM that it is attached to."""
    reserved_for: str | None = None
    """The VM that it is or was reserved for."""
    reserved_until: float = 0.0
    """Simulated time."""

    @property
    def configurations(self) -> list[Json]:
        configurations: list[Json] = self.properties["ipConfigurations"]
        return configurations


class Interfaces(NetworkProvider):
    """Microsoft.Network/networkInterfaces."""

    def routes(self) -> list[Route]:
        return [
            Route("PUT", _TYPE, self._put),
            Route("GET", _TYPE, self.get),
            Route("DELETE", _TYPE, self._delete),
            Route("GET", _TYPE, self.list, collection=True),
        ]

    # Used by Compute

    def claim(self, ids: Sequence[str], vm_id: str, location: str) -> list[Interface]:
        """The interfaces, if the VM may use all of them. Raises ArmError 400."""
        claimed = []
        for id_ in ids:
            nic = self.cloud.store.find(id_)
            deleted = nic is None or nic.properties["provisioningState"] == "Deleting"
            if deleted or not isinstance(nic, Interface) or nic.location != location:
                raise invalid_reference(id_, vm_id)
            self._check_reservation(nic, vm_id)
            if nic.vm_id is not None and nic.vm_id.lower() != vm_id.lower():
                raise nic_in_use(nic.id, nic.vm_id)
            claimed.append(nic)
        return claimed

    def attach(self, nic: Interface, vm_id: str, *, primary: bool) -> None:
        nic.vm_id, nic.reserved_for = vm_id, None
        digest = hashlib.sha256(nic.target.key.encode()).hexdigest()[:6].upper()
        mac = "-".join(["00", "0D", "3A", digest[:2], digest[2:4], digest[4:]])
        nic.properties.update(virtualMachine={"id": vm_id}, primary=primary, macAddress=mac)
        nic.touch()

    def reserve(self, nic: Interface, vm_id: str) -> None:
        """Reserve the interface for the VM for 180 s."""
        nic.reserved_for, nic.reserved_until = vm_id, self.cloud.clock.now() + RESERVATION

    def detach(self, nic: Interface) -> None:
        """Detach the interface from its VM, and reserve it for that VM."""
        if nic.vm_id is None:
            return
        self.reserve(nic, nic.vm_id)
        nic.vm_id = None
        for member in ("virtualMachine", "primary", "macAddress"):
            nic.properties.pop(member, None)
        nic.touch()

    def delete(self, nic: Interface) -> None:
        """Delete the interface, and its public addresses that have the delete option."""
        for configuration in nic.configurations:
            properties = configuration["properties"]
            subnet = self.cloud.store.find(properties["subnet"]["id"])
            if isinstance(subnet, Subnet):
                subnet.leases.pop(configuration["id"], None)
            public = properties.get("publicIPAddress") or {}
            address = self.cloud.store.find(public.get("id") or "")
            if address is not None:
                address.properties.pop("ipConfiguration", None)
                if (public.get("properties") or {}).get("deleteOption") == "Delete":
                    self.cloud.store.remove(address)
        self.cloud.store.remove(nic)

    def has_outbound(self, nic: Interface) -> bool:
        """Whether a VM with this interface has outbound internet access."""
        first = nic.configurations[0]["properties"]
        subnet = self.cloud.store.find(first["subnet"]["id"])
        assert isinstance(subnet, Subnet)
        nat = reference(subnet.properties, "natGateway")
        return not subnet.private or bool(nat) or bool(reference(first, "publicIPAddress"))

    # Requests

    def render(self, resource: Resource) -> Json:
        """The interface, including what depends on its subnet."""
        assert isinstance(resource, Interface)
        body = super().render(resource)
        outbound = {"defaultOutboundConnectivityEnabled": self._has_default_outbound(resource)}
        return {**body, "properties": {**body["properties"], **outbound}}

    def _has_default_outbound(self, nic: Interface) -> bool:
        subnet = self.cloud.store.find(nic.configurations[0]["properties"]["subnet"]["id"])
        return isinstance(subnet, Subnet) and not subnet.private

    async def _put(self, call: Call) -> Reply:
        body = validate(call.request.body, NETWORK_INTERFACE)
        check_name(call.target.name)
        if not body["properties"]["ipConfigurations"]:
            raise missing_parameter("properties.ipConfigurations")
        await self.cloud.wait("nic.put", call.target.name)
        existing = self.cloud.store.find(call.target.path)
        check_conditions(call.request.headers, existing)
        subnets = self._check_references(call, body)
        nic = existing if isinstance(existing, Interface) else Interface(call.target, {})
        before = nic.body.get("properties", {})
        nic.body = self._new_body(call, body, subnets)
        kept = ("virtualMachine", "primary", "macAddress", "resourceGuid")
        nic.properties.update({member: before[member] for member in kept if member in before})
        nic.touch()
        self.cloud.store.add(nic)
        operation = self.operations.completed(call, nic.location, NIC_PUT)
        headers = self.operations.headers(operation, call)
        return Reply(201 if existing is None else 200, self.render(nic), headers)

    def _check_references(self, call: Call, body: Json) -> list[Subnet]:
        """The subnet of each IP configuration. Raises ArmError if a reference is invalid."""
        group = reference(body["properties"], "networkSecurityGroup")
        if group:
            self.check_reference(group, call.target.path, body["location"])
        subnets = []
        for at, configuration in enumerate(body["properties"]["ipConfigurations"]):
            properties = configuration["properties"]
            subnet_id = reference(properties, "subnet")
            if not subnet_id:
                raise missing_parameter(f"properties.ipConfigurations[{at}].properties.subnet.id")
            subnet = self.cloud.store.find(subnet_id)
            if not isinstance(subnet, Subnet) or self.region(subnet) != body["location"]:
                raise invalid_reference(subnet_id, call.target.path)
            check_provisioned(subnet, call.target.path)
            public = reference(properties, "publicIPAddress")
            if public and self.cloud.store.find(public) is None:
                raise invalid_reference(public, call.target.path)
            subnets.append(subnet)
        return subnets

    def _new_body(self, call: Call, body: Json, subnets: list[Subnet]) -> Json:
        configurations = [
            self._configuration(call, configuration, subnet, primary=at == 0)
            for at, (configuration, subnet) in enumerate(
                zip(body["properties"]["ipConfigurations"], subnets, strict=True)
            )
        ]
        properties = {
            "dnsSettings": {"dnsServers": [], "appliedDnsServers": []},
            "enableAcceleratedNetworking": False,
            "enableIPForwarding": False,
            "disableTcpStateTracking": False,
            "vnetEncryptionSupported": False,
            "hostedWorkloads": [],
            "tapConfigurations": [],
            "nicType": "Standard",
            "allowPort25Out": True,
            **body["properties"],
            "ipConfigurations": configurations,
            "provisioningState": "Succeeded",
        }
        return new_body(call, _TYPE, {**body, "properties": properties, "kind": "Regular"})

    def _configuration(self, call: Call, sent: Json, subnet: Subnet, *, primary: bool) -> Json:
        id_ = f"{call.target.path}/ipConfigurations/{sent['name']}"
        public = self.cloud.store.find(reference(sent["properties"], "publicIPAddress") or "")
        if public is not None:
            public.properties["ipConfiguration"] = {"id": id_}
        properties = {
            "primary": primary,
            "privateIPAllocationMethod": "Dynamic",
            "privateIPAddressVersion": "IPv4",
            **sent["properties"],
            "provisioningState": "Succeeded",
            "privateIPAddress": str(subnet.lease(id_)),
        }
        etag = f'W/"{uuid.uuid4()}"'
        return {"name": sent["name"], "id": id_, "etag": etag, "type": _CONFIGURATION_TYPE,
                "properties": properties}  # fmt: skip

    async def _delete(self, call: Call) -> Reply:
        await self.cloud.wait("delete", call.target.name)
        nic = self.cloud.store.find(call.target.path)
        if not isinstance(nic, Interface):
            return Reply(204)
        self._check_reservation(nic, None)
        if nic.vm_id is not None:
            raise nic_in_use(nic.id, nic.vm_id)
        return self.start_delete(call, nic, lambda: self.delete(nic))

    def _check_reservation(self, nic: Interface, vm_id: str | None) -> None:
        reserved = nic.reserved_for
        if reserved is None or nic.reserved_until <= self.cloud.clock.now():
            return
        if vm_id is None or reserved.lower() != vm_id.lower():
            raise nic_reserved(reserved)
