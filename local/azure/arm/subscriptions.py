"""Tenants, subscriptions, resource groups, and Compute's SKUs and usages."""

from __future__ import annotations

import re

from local.azure.arm.calls import Call, Reply, Route
from local.azure.arm.errors import gateway
from local.azure.arm.resources import Json, Resource, parse_id
from local.azure.arm.schema import RESOURCE_GROUP
from local.azure.arm.validation import validate
from local.azure.cloud import Cloud
from local.azure.compute.sizes import SIZES, ZONES, Size, check_region
from local.azure.identity.authorization import Authorization
from local.azure.options import GROUP, LOCATION

_GROUP = "subscriptions/resourceGroups"


class Subscriptions:
    """The subscription and what it contains or may use."""

    def __init__(self, cloud: Cloud, authorization: Authorization) -> None:
        self._cloud, self._authorization = cloud, authorization
        self._add_group(GROUP, {"location": LOCATION})

    def routes(self) -> list[Route]:
        return [
            Route("GET", "tenants", self._tenants, collection=True, open=True),
            Route("GET", "subscriptions", self._subscriptions, collection=True, open=True),
            Route("GET", "subscriptions", self._subscription, open=True),
            Route("GET", _GROUP, self._get_group),
            Route("HEAD", _GROUP, self._head_group),
            Route("PUT", _GROUP, self._put_group),
            Route("GET", _GROUP, self._list_groups, collection=True),
            Route("GET", "Microsoft.Compute/skus", self._skus, collection=True),
            Route("GET", "Microsoft.Compute/locations/usages", self._usages, collection=True),
        ]

    async def _tenants(self, call: Call) -> Reply:
        tenant = self._cloud.identity.tenant_id
        body = {"id": f"/tenants/{tenant}", "tenantId": tenant, "displayName": "Local Azure",
                "tenantCategory": "Home"}  # fmt: skip
        return Reply(200, {"value": [body]})

    async def _subscriptions(self, call: Call) -> Reply:
        visible = self._authorization.sees_subscription(call.principal)
        return Reply(200, {"value": [self._subscription_body()] if visible else []})

    async def _subscription(self, call: Call) -> Reply:
        self._cloud.check_group(call.target.subscription, None)
        if not self._authorization.sees_subscription(call.principal):
            action = "Microsoft.Resources/subscriptions/read"
            self._authorization.require(call.principal, action, call.target.path)
        return Reply(200, self._subscription_body())

    def _subscription_body(self) -> Json:
        identity = self._cloud.identity
        return {
            "id": self._cloud.subscription_scope,
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": identity.subscription_id,
            "tenantId": identity.tenant_id,
            "displayName": "Local Azure",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    def _add_group(self, name: str, body: Json) -> Resource:
        target = parse_id(f"{self._cloud.subscription_scope}/resourceGroups/{name}")
        group = Resource(
            target,
            {
                "id": target.path,
                "name": name,
                "type": "Microsoft.Resources/resourceGroups",
                "location": body["location"],
                **({"tags": body["tags"]} if body.get("tags") else {}),
                "properties": {"provisioningState": "Succeeded"},
            },
        )
        self._cloud.store.add(group)
        return group

    async def _get_group(self, call: Call) -> Reply:
        self._cloud.check_group(call.target.subscription, call.target.name)
        return Reply(200, self._cloud.store.get(call.target).body)

    async def _head_group(self, call: Call) -> Reply:
        return Reply(404 if self._cloud.store.find(call.target.path) is None else 204)

    async def _put_group(self, call: Call) -> Reply:
        self._cloud.check_group(call.target.subscription, None)
        body = validate(call.request.body, RESOURCE_GROUP)
        existing = self._cloud.store.find(call.target.path)
        if existing is not None and existing.location != body["location"]:
            raise gateway(
                409,
                "InvalidResourceGroupLocation",
                f"Invalid resource group location '{body['location']}'. The Resource group already "
                f"exists in location '{existing.location}'.",
            )
        group = self._add_group(call.target.name, body)
        return Reply(201 if existing is None else 200, group.body)

    async def _list_groups(self, call: Call) -> Reply:
        groups = [r for r in self._cloud.store if r.target.kind == _GROUP.lower()]
        found = sorted((group.target.key, group.body) for group in groups)
        return self._cloud.page(call, found, lambda body: body)

    async def _skus(self, call: Call) -> Reply:
        wanted = re.search(r"location eq '([^']*)'", call.request.query.get("$filter", ""))
        locations = [wanted[1].lower()] if wanted else list(ZONES)
        items = [
            _sku(size, location, self._cloud.allocator.restrictions(size, location))
            for location in locations
            if location in ZONES
            for size in SIZES.values()
        ]
        # Azure returns the SKUs of a location as one page.
        return Reply(200, {"value": items})

    async def _usages(self, call: Call) -> Reply:
        location = call.target.names[0].lower()
        check_region(call, "locations/usages")
        allocator = self._cloud.allocator
        limits, used = allocator.limits(location), allocator.usage(location)
        families = {size.family: f"{size.family} vCPUs" for size in SIZES.values()}
        names = {
            "cores": "Total Regional vCPUs",
            "virtualMachines": "Virtual Machines",
            "lowPriorityCores": "Total Regional Spot vCPUs",
            **families,
        }
        items = [
            {
                "limit": limits[value],
                "unit": "Count",
                "currentValue": used[value],
                "name": {"value": value, "localizedValue": text},
            }
            for value, text in names.items()
        ]
        return Reply(200, {"value": items})


def _sku(size: Size, location: str, restrictions: list[Json]) -> Json:
    facts = {
        "vCPUs": str(size.vcpus),
        "MemoryGB": f"{size.memory_gb:g}",
        "PremiumIO": str(size.has_premium_disks),
        "HyperVGenerations": size.generations,
        "CpuArchitectureType": size.architecture,
        "DiskControllerTypes": size.controllers,
        "LowPriorityCapable": "False" if size.name.startswith("Standard_B") else "True",
        "EphemeralOSDiskSupported": "True" if "ds_v" in size.name.lower() else "False",
        **({"GPUs": str(size.gpus)} if size.gpus else {}),
    }
    return {
        "resourceType": "virtualMachines",
        "name": size.name,
        "tier": "Standard",
        "size": size.name.removeprefix("Standard_"),
        "family": size.family,
        "locations": [location],
        "locationInfo": [{"location": location, "zones": list(ZONES[location]), "zoneDetails": []}],
        "capabilities": [{"name": name, "value": value} for name, value in facts.items()],
        "restrictions": restrictions,
    }
