"""Whether the VMs' subnet is there, leads out, and has addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from fleet.azure import bodies, virtual_machines
from fleet.azure.bodies import Body
from fleet.model import names
from fleet.preflight.finding import Finding, room, unseen
from fleet.preflight.inventory import Missing, Region, Survey

_KEPT_BY_AZURE = 5
"""Addresses of each subnet: the first four and the last."""
_TOO_SMALL = "Use a larger subnet, or ask for fewer VMs."
_CLOSED = (
    "Give the subnet a NAT gateway: without a way out a VM can install nothing, nor delete itself."
)


def subnet(survey: Survey) -> Iterator[Finding]:
    """The user's own must be there; ours is made where it is absent."""
    for location, region in survey.regions.items():
        if isinstance(region.network, Missing):
            yield unseen(f"The network in {location}", region.network)
        elif survey.order["subnet_id"]:
            yield _theirs(survey, location, region)
        else:
            yield _ours(survey, location, region)


def addresses(survey: Survey) -> Iterator[Finding]:
    """The free addresses of all locations together, against the VMs wanted."""
    free, parts = 0, []
    for location, region in survey.regions.items():
        if survey.order["subnet_id"] and standing(survey, location, region) is None:
            return  # the subnet's own check says why
        count = _free(survey, location, region)
        if isinstance(count, Finding):
            yield count
            return
        free += count
        parts.append(f"{names.subnet(location)} has {count} free addresses")
    yield room(survey, free, "SubnetTooSmall", f": {'; '.join(parts)}", _TOO_SMALL)


def standing(survey: Survey, location: str, region: Region) -> Body | None:
    """The order's subnet there, as Azure has it; None where it is absent, or was not seen."""
    if region.network is None or isinstance(region.network, Missing):
        return None
    return region.network.subnet(virtual_machines.subnet_id(survey.order, location))


def _theirs(survey: Survey, location: str, region: Region) -> Finding:
    found, wanted = standing(survey, location, region), survey.order["subnet_id"]
    if found is None or region.network is None or isinstance(region.network, Missing):
        advice = "Create it, or name another one in subnet_id."
        return Finding("fault", f"There is no subnet {wanted}", advice, "SubnetNotFound")
    where = region.network.body["location"].replace(" ", "").lower()
    if where != location:
        text = f"The subnet is in {where}, the VMs are to be in {location}"
        return Finding("fault", text, "Name a subnet of the VMs' location.", "SubnetElsewhere")
    # Routes that a gateway or a virtual WAN announces are not to be seen in a subnet.
    way = _way_out(found)
    return replace(way, status="warning") if way.status == "fault" else way


def _ours(survey: Survey, location: str, region: Region) -> Finding:
    found = standing(survey, location, region)
    if found is None:
        return Finding("ok", f"{names.subnet(location)} will be made")
    if survey.order["outbound"] == "default":
        return _way_out(found)
    return Finding("ok", f"{names.subnet(location)} stands")


def _way_out(subnet: Body) -> Finding:
    """A private subnet without a gateway keeps its VMs from Azure itself (azure-docs: an explicit
    outbound method is needed for endpoints "on the internet and within Microsoft").
    """
    name, has = subnet["name"], subnet["properties"]
    if has.get("natGateway"):
        return Finding("ok", f"{name} leads out by a NAT gateway")
    if has.get("defaultOutboundAccess") is not False:
        return Finding("ok", f"{name} has default outbound access")
    if has.get("routeTable"):
        detail = f"{name} is private, with a route table: whether that leads out is not known"
        return Finding("unknown", detail, "Check that the routes lead to a firewall or gateway.")
    return Finding("fault", f"{name} is private, and has no way out", _CLOSED, "NoOutbound")


def _free(survey: Survey, location: str, region: Region) -> int | Finding:
    network = region.network
    if isinstance(network, Missing):
        return unseen(f"The network in {location}", network)
    if network is None or standing(survey, location, region) is None:
        return ipaddress.ip_network(bodies.SUBNET_RANGE).num_addresses - _KEPT_BY_AZURE
    if isinstance(network.usages, Missing):
        return unseen(f"The free addresses in {location}", network.usages)
    usage = network.usage(virtual_machines.subnet_id(survey.order, location))
    if usage is None:
        return Finding("unknown", f"Azure does not tell the free addresses in {location}")
    return max(0, int(usage["limit"]) - int(usage["currentValue"]))
