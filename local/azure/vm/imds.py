"""The instance metadata service of one VM, on its own port."""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from local.azure.arm.resources import Json
from local.azure.cloud import Cloud
from local.azure.compute.vm import VirtualMachine
from local.azure.identity.directory import TOKEN_LIFETIME, Principal

_MANY = (
    "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity "
    "in the token request"
)  # acs-keyvault-agent#43


_GALLERIES_SINCE = "2023-07-01"
"""The first api-version that names shared and community images, and exact versions."""


class Imds:
    """Serves http://127.0.0.1:{port}/metadata/..., as 169.254.169.254 does in Azure."""

    def __init__(self, cloud: Cloud, vm: VirtualMachine) -> None:
        self._cloud, self._vm = cloud, vm
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen on a free port of the loopback address. Returns the port."""
        app = web.Application(middlewares=[_require_metadata_header])
        app.router.add_get("/metadata/identity/oauth2/token", self._token)
        app.router.add_get("/metadata/instance{path:.*}", self._instance)
        app.router.add_get("/metadata/scheduledevents", self._events)
        app.router.add_post("/metadata/scheduledevents", self._start_events)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        resource = request.query.get("resource")
        if not resource:
            return _bad_request("invalid_resource", "The 'resource' parameter is missing.")
        found = self._identities(request.query)
        if len(found) != 1:
            return _bad_request("invalid_request", _MANY if found else "Identity not found")
        [principal] = found
        now = int(time.time())
        return web.json_response(
            {
                "access_token": self._cloud.directory.issue_token(principal, resource),
                "client_id": principal.client_id,
                "expires_in": str(TOKEN_LIFETIME),
                "expires_on": str(now + TOKEN_LIFETIME),
                "ext_expires_in": str(TOKEN_LIFETIME),
                "not_before": str(now),
                "resource": resource,
                "token_type": "Bearer",
            }
        )

    def _identities(self, query: Mapping[str, str]) -> list[Principal]:
        """The identities that a query may mean; by default the system-assigned one, if any."""
        own, assigned = self._vm.principal, self._vm.identities
        if named := query.get("msi_res_id"):
            return [one for id_, one in assigned.items() if id_.lower() == named.lower()]
        everyone = [*([own] if own else []), *assigned.values()]
        if named := query.get("client_id") or query.get("object_id"):
            return [one for one in everyone if named.lower() in (one.client_id, one.object_id)]
        return [own] if own else everyone

    async def _events(self, request: web.Request) -> web.Response:
        events = self._vm.scheduled_events
        return web.json_response({"DocumentIncarnation": 1 + len(events), "Events": events})

    async def _start_events(self, request: web.Request) -> web.Response:
        """Acknowledge events. Azure then starts them early; here only their status changes."""
        wanted = {start["EventId"] for start in (await request.json())["StartRequests"]}
        for event in self._vm.scheduled_events:
            if event["EventId"] in wanted:
                event["EventStatus"] = "Started"
        return web.json_response({})

    async def _instance(self, request: web.Request) -> web.Response:
        """The instance metadata, or a part of it such as `/compute/name?format=text`."""
        part: Any = self._document(request.query.get("api-version", ""))
        for step in (s for s in request.match_info["path"].split("/") if s):
            part = _step(part, step)
            if part is None:
                return web.json_response({"error": "Not found"}, status=404)
        if request.query.get("format") == "text":
            if isinstance(part, dict | list):
                return web.json_response({"error": "Bad request: not a leaf"}, status=400)
            return web.Response(text=str(part))
        return web.json_response(part)

    def _document(self, api: str) -> Json:
        vm, properties = self._vm, self._vm.properties
        tags = vm.body.get("tags") or {}
        image = properties["storageProfile"].get("imageReference") or {}
        return {
            "compute": {
                "azEnvironment": "AzurePublicCloud",
                "location": vm.location,
                "name": vm.name,
                "offer": image.get("offer", ""),
                "osType": properties["storageProfile"]["osDisk"]["osType"],
                "priority": properties.get("priority", ""),
                "provider": "Microsoft.Compute",
                "publisher": image.get("publisher", ""),
                "resourceGroupName": vm.target.group,
                "resourceId": vm.id,
                "sku": image.get("sku", ""),
                "storageProfile": {"imageReference": _image_reference(image, api)},
                "subscriptionId": self._cloud.identity.subscription_id,
                "tags": ";".join(f"{name}:{value}" for name, value in tags.items()),
                "tagsList": [{"name": name, "value": value} for name, value in tags.items()],
                "userData": vm.user_data or "",
                "version": image.get("exactVersion", "") if image.get("publisher") else "",
                "vmId": properties["vmId"],
                "vmSize": properties["hardwareProfile"]["vmSize"],
                "zone": "".join(vm.body.get("zones") or []),
            },
            "network": {"interface": [self._interface(nic) for nic in vm.interfaces]},
        }

    @staticmethod
    def _interface(nic: Any) -> Json:
        addresses = [
            {"privateIpAddress": c["properties"]["privateIPAddress"], "publicIpAddress": ""}
            for c in nic.configurations
        ]
        return {
            "ipv4": {"ipAddress": addresses},
            "macAddress": nic.properties.get("macAddress", "").replace("-", ""),
        }


def _image_reference(image: Json, api: str) -> Json:
    members = ["id", "offer", "publisher", "sku", "version"]
    if api >= _GALLERIES_SINCE:
        members += ["communityGalleryImageId", "sharedGalleryImageId", "exactVersion"]
    return {name: image.get(name, "") for name in members}


def _step(part: Any, name: str) -> Any:
    if isinstance(part, list):
        return part[int(name)] if name.isdigit() and int(name) < len(part) else None
    return part.get(name) if isinstance(part, dict) else None


@web.middleware
async def _require_metadata_header(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Require the Metadata header, which prevents request forgery."""
    if request.headers.get("Metadata", "").lower() != "true":
        return _bad_request("invalid_request", "Required metadata header not specified")
    if "api-version" not in request.query:
        return _bad_request("invalid_request", "Required query variable 'api-version' is missing")
    response = await handler(request)
    response.headers["x-ms-request-id"] = str(uuid.uuid4())
    return response


def _bad_request(error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=400)
