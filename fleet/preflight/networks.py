"""Checks that the VMs' subnet exists, has outbound access and has free IP addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from fleet.azure import arm_bodies, virtual_machines
from fleet.azure.arm_bodies import Body
from fleet.model import names
from fleet.preflight.check_result import CheckResult, capacity_result, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Region, Unavailable

_RESERVED_BY_AZURE = 5
"""IP addresses in each subnet: the first four and the last."""
_TOO_SMALL = "Use a larger subnet or fewer VMs."
_NO_OUTBOUND = (
    "Add a NAT gateway: VMs need outbound access to install packages and delete themselves."
)


def subnet(inputs: PlanInputs) -> Iterator[CheckResult]:
    """A `subnet_id` must exist; the app creates its own subnet if it is absent."""
    for location, region in inputs.regions.items():
        if isinstance(region.network, Unavailable):
            yield unreadable(f"The network in {location}", region.network)
        elif inputs.order["subnet_id"]:
            yield _existing(inputs, location, region)
        else:
            yield _shared(inputs, location, region)


def addresses(inputs: PlanInputs) -> Iterator[CheckResult]:
    """Compares the free IP addresses of all locations with the VMs wanted."""
    free, parts = 0, []
    for location, region in inputs.regions.items():
        if inputs.order["subnet_id"] and existing_subnet(inputs, location, region) is None:
            return  # the subnet check reports it
        count = _free(inputs, location, region)
        if isinstance(count, CheckResult):
            yield count
            return
        free += count
        parts.append(f"{names.subnet(location)} has {count} free IP addresses")
    yield capacity_result(inputs, free, "SubnetTooSmall", f": {'; '.join(parts)}", _TOO_SMALL)


def existing_subnet(inputs: PlanInputs, location: str, region: Region) -> Body | None:
    """The order's subnet in a location; None if it is absent or could not be read."""
    if region.network is None or isinstance(region.network, Unavailable):
        return None
    return region.network.subnet(virtual_machines.subnet_id(inputs.order, location))


def is_secured(inputs: PlanInputs, location: str, region: Region) -> bool:
    """Whether the order's subnet in a location exists and has a security group."""
    found = existing_subnet(inputs, location, region)
    return bool(found and found["properties"].get("networkSecurityGroup"))


def _existing(inputs: PlanInputs, location: str, region: Region) -> CheckResult:
    found, wanted = existing_subnet(inputs, location, region), inputs.order["subnet_id"]
    if found is None or region.network is None or isinstance(region.network, Unavailable):
        advice = "Create the subnet, or specify another subnet_id."
        return CheckResult("fault", f"Subnet {wanted} does not exist", advice, "SubnetNotFound")
    where = names.region_of(region.network.body["location"])
    if where != location:
        text = f"The subnet is in {where}, but the VMs are in {location}"
        return CheckResult(
            "fault", text, "Specify a subnet in the VMs' region.", "SubnetInOtherRegion"
        )
    # A subnet does not show routes propagated by a gateway or a virtual WAN.
    outbound = _outbound_access(found)
    return replace(outbound, status="warning") if outbound.status == "fault" else outbound


def _shared(inputs: PlanInputs, location: str, region: Region) -> CheckResult:
    found = existing_subnet(inputs, location, region)
    if found is None:
        return CheckResult("ok", f"{names.subnet(location)} will be created")
    if inputs.order["outbound"] == "default":
        return _outbound_access(found)
    return CheckResult("ok", f"{names.subnet(location)} exists")


def _outbound_access(subnet: Body) -> CheckResult:
    """VMs in a private subnet without a gateway cannot reach Azure itself (azure-docs: an explicit
    outbound method is needed for endpoints "on the internet and within Microsoft").
    """
    name, has = subnet["name"], subnet["properties"]
    if has.get("natGateway"):
        return CheckResult("ok", f"{name} has outbound access through a NAT gateway")
    if has.get("defaultOutboundAccess") is not False:
        return CheckResult("ok", f"{name} has default outbound access")
    if has.get("routeTable"):
        detail = f"{name} is private with a route table; its outbound access is unknown"
        return CheckResult("unknown", detail, "Check that a route leads to a firewall or gateway.")
    return CheckResult(
        "fault", f"{name} is private and has no outbound access", _NO_OUTBOUND, "NoOutbound"
    )


def _free(inputs: PlanInputs, location: str, region: Region) -> int | CheckResult:
    network = region.network
    if isinstance(network, Unavailable):
        return unreadable(f"The network in {location}", network)
    if network is None or existing_subnet(inputs, location, region) is None:
        return ipaddress.ip_network(arm_bodies.SUBNET_RANGE).num_addresses - _RESERVED_BY_AZURE
    if isinstance(network.usages, Unavailable):
        return unreadable(f"The free IP addresses in {location}", network.usages)
    usage = network.usage(virtual_machines.subnet_id(inputs.order, location))
    if usage is None:
        return CheckResult("unknown", f"Azure does not report the free IP addresses in {location}")
    return max(0, int(usage["limit"]) - int(usage["currentValue"]))
