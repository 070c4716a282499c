"""Metrics and traces of requests to Azure Resource Manager, as an SDK pipeline policy."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.mgmt.core.exceptions import ARMErrorFormat

from fleet.azure.error_classifier import describe
from fleet.telemetry import metrics, traces

_TYPES = {
    "virtualmachines": "vm",
    "networkinterfaces": "nic",
    "disks": "disk",
    "virtualnetworks": "vnet",
    "subnets": "subnet",
    "networksecuritygroups": "nsg",
    "roleassignments": "role",
    "roleassignmentsusagemetrics": "role_usage",
    "roledefinitions": "role_definition",
    "permissions": "permissions",
    "skus": "skus",
    "usages": "usages",
    "versions": "image",
    "instanceview": "view",
    "retrievebootdiagnosticsdata": "log",
}
_SINGLE = ("view", "log")
"""Sub-resources of one VM: no name follows them in the path."""


def policies() -> list[AsyncHTTPPolicy[Any, Any]]:
    """For the SDKs' `per_retry_policies`; empty if telemetry is off."""
    return [RequestTelemetryPolicy()] if metrics.is_on() or traces.is_on() else []


class RequestTelemetryPolicy(AsyncHTTPPolicy[Any, Any]):  # type: ignore[misc]
    """Measures a request, and makes azure-core create a span for it inside an activity's span.

    azure-core's global tracing switch stays off, because it adds a second span per operation.
    """

    async def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        method = request.http_request.method
        kind = kind_of(method, request.http_request.url)
        if traces.is_recording():
            about = {"powerlift.arm.kind": kind}
            request.context.options["tracing_options"] = {"enabled": True, "attributes": about}
            request.context.options["network_span_namer"] = lambda _: kind
        began = time.perf_counter()
        try:
            response = await self.next.send(request)
        except Exception as error:
            _record(kind, method, 0, describe(error)["code"], began)
            raise
        status = response.http_response.status_code
        _record(kind, method, status, await _code(response) if status >= 400 else None, began)
        return response


def kind_of(method: str, url: str) -> str:
    """The kind of request: `vm.put`, `nic.list`, … or `other`; see docs/fault-injection.md."""
    path = urlsplit(url).path.rstrip("/")
    if re.fullmatch(r"/subscriptions/[^/]+/resourcegroups/[^/]+", path, re.IGNORECASE):
        return f"group.{method.lower()}"
    parts = re.split("/providers/", path, flags=re.IGNORECASE)[-1].split("/")[1:]
    # type/name/type/name/…: an even number of segments names one resource, an odd number a collection.
    last = parts[-1 - (len(parts) + 1) % 2] if parts else ""
    name = _TYPES.get(last.lower())
    if name is None:
        return "other"
    is_list = len(parts) % 2 == 1 and name not in _SINGLE
    return f"{name}.{'list' if is_list else method.lower()}"


async def _code(response: PipelineResponse[Any, Any]) -> str:
    answer = response.http_response
    with suppress(AzureError):  # the SDK's own read raises the same error
        # Long-running operations leave the body unread, and reading it twice is safe.
        await (answer.read() if hasattr(answer, "read") else answer.load_body())
    return describe(HttpResponseError(response=answer, error_format=ARMErrorFormat))["code"]


def _record(kind: str, method: str, status: int, code: str | None, began: float) -> None:
    duration = time.perf_counter() - began
    attributes = {
        "powerlift.arm.kind": kind,
        "http.request.method": method,
        "powerlift.arm.status": f"{status // 100}xx",
    }
    metrics.measure("powerlift.arm.duration", duration, attributes)
    metrics.measure("powerlift.arm.requests", 1, {**attributes, "error.type": code})
