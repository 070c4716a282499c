"""The front end of Azure Resource Manager: authentication, routing, authorization."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from local.azure.arm.calls import Call, Reply, Request, Route
from local.azure.arm.errors import ArmError, gateway, not_deserialized
from local.azure.arm.resources import Json, Target, check_tags, parse_id
from local.azure.cloud import Checkpoint, Cloud
from local.azure.compute.sizes import ZONES
from local.azure.identity.authorization import Authorization
from local.azure.identity.directory import Principal
from local.azure.identity.linked_access import linked_actions
from local.azure.options import LOCATION

logger = logging.getLogger(__name__)

_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-[a-z]+)?", re.IGNORECASE)

# What remains in a full bucket after one call (learn.microsoft.com, request-limits-and-throttling).
_WRITES = ("writes", 199, 2999)
_BUCKETS = {"PUT": _WRITES, "PATCH": _WRITES, "DELETE": ("deletes", 199, 2999)}
_READS = ("reads", 249, 3749)

_VMS = "microsoft.compute/virtualmachines"
# Recorded 2022 on the same operations.
_COMPUTE_BUCKETS = {
    ("PUT", _VMS): "Microsoft.Compute/PutVM3Min;239,Microsoft.Compute/PutVM30Min;1197",
    ("DELETE", _VMS): "Microsoft.Compute/DeleteVM3Min;239,Microsoft.Compute/DeleteVM30Min;1199",
    ("GET", "microsoft.compute/locations/operations"): (
        "Microsoft.Compute/GetOperation3Min;14999,Microsoft.Compute/GetOperation30Min;29999"
    ),
}


class Router:
    """Routes requests to the providers, after the checks that ARM makes itself."""

    def __init__(self, cloud: Cloud, authorization: Authorization, routes: Iterable[Route]) -> None:
        self._cloud, self._authorization = cloud, authorization
        self._routes = {route.key: route for route in routes}
        self._types = {route.type.lower() for route in self._routes.values()}

    async def handle(self, request: Request) -> Reply:
        """Handle any request. Errors are returned in ARM's envelope."""
        principal = None
        try:
            principal = self._cloud.directory.authenticate(request.headers, request.base)
            reply = await self._dispatch(request, principal)
        except ArmError as error:
            headers = {**error.headers, "x-ms-failure-cause": error.cause}
            body = {"error": error.error()} if error.wrapped else error.error()
            reply = Reply(error.status, body, headers)
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            failure = gateway(500, "InternalServerError", "The simulator failed. See its log.")
            reply = Reply(500, {"error": failure.error()})
        reply.principal = principal.object_id if principal else None
        reply.headers = {
            **self._standard_headers(request),
            **reply.headers,
            **request.effects.headers,
        }
        return reply

    async def _dispatch(self, request: Request, principal: Principal) -> Reply:
        _check_api_version(request)
        target = parse_id(request.path)
        route = self._route(request, target)
        await self._cloud.intercept(Checkpoint("received", Call(request, target, principal)))
        if request.method in ("GET", "HEAD"):
            await self._cloud.wait("read", request.path)
        if not route.open:
            self._authorize(request, principal, route.action, target.path)
        if target.scope != "/":
            self._cloud.check_group(target.subscription, target.group)
        if request.method in ("PUT", "PATCH"):
            request = _with_clean_body(request, target)
        call = Call(request, target, principal)
        await self._cloud.intercept(Checkpoint("accepted", call))
        reply = await route.handler(call)
        bucket = _COMPUTE_BUCKETS.get((request.method, target.kind))
        if bucket:
            reply.headers["x-ms-ratelimit-remaining-resource"] = bucket
        return reply

    def _authorize(self, request: Request, principal: Principal, action: str, path: str) -> None:
        demanded = request.effects.demanded
        demanded.append((path, action))
        self._authorization.require(principal, action, path, request.body)
        if isinstance(request.body, dict):
            linked = linked_actions(path, request.body)
            demanded += linked
            self._authorization.require_linked(principal, action, path, linked)

    def _route(self, request: Request, target: Target) -> Route:
        route = self._routes.get((request.method, target.kind, target.collection))
        if route is not None:
            return route
        if target.kind in self._types:
            raise gateway(
                405,
                "MethodNotAllowed",
                f"The HTTP method '{request.method}' is not supported for '{target.path}'.",
            )
        namespace, _, type_ = target.type.partition("/")
        raise gateway(
            404,
            "InvalidResourceType",
            f"The resource type '{type_}' could not be found in the namespace '{namespace}' for api "
            f"version '{request.query['api-version']}'. The simulator does not support it.",
        )

    def _standard_headers(self, request: Request) -> dict[str, str]:
        id_ = str(uuid.uuid4())
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        kind, local, total = _BUCKETS.get(request.method, _READS)
        return {
            "Cache-Control": "no-cache",
            "Pragma": "no-cache",
            "Expires": "-1",
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
            "x-ms-request-id": id_,
            "x-ms-correlation-request-id": id_,
            "x-ms-routing-request-id": f"{LOCATION.upper()}:{now}:{id_}",
            f"x-ms-ratelimit-remaining-subscription-{kind}": str(local),
            f"x-ms-ratelimit-remaining-subscription-global-{kind}": str(total),
        }


def _check_api_version(request: Request) -> None:
    version = request.query.get("api-version")
    if not version:
        raise gateway(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    if not _API_VERSION.fullmatch(version):
        raise gateway(400, "InvalidApiVersionParameter", f"The api-version '{version}' is invalid.")


def _without_nulls(value: Any) -> Any:
    """ARM treats null as absent anywhere in a body."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _with_clean_body(request: Request, target: Target) -> Request:
    """The request, after ARM's checks of any body, with the region in its canonical form."""
    if request.malformed:
        raise not_deserialized(request.malformed)
    if not isinstance(request.body, dict):
        raise not_deserialized("A JSON object is required.")
    body: Json = _without_nulls(request.body)
    if isinstance(body.get("location"), str) and body["location"]:
        body["location"] = body["location"].replace(" ", "").lower()
        if body["location"] not in ZONES:
            raise gateway(
                400,
                "LocationNotAvailableForResourceType",
                f"The provided location '{body['location']}' is not available for resource type "
                f"'{target.type}'. List of available regions for the resource type is "
                f"'{','.join(ZONES)}'.",
            )
    tags = body.get("tags")
    if isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values()):
        check_tags(tags)
    return replace(request, body=body)
