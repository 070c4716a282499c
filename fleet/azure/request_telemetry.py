"""A look at every request to Azure Resource Manager, as a policy in the SDKs' pipelines."""

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

from fleet.azure.errors import describe
from fleet.telemetry import metrics, traces

_TYPES = {
    "virtualmachines": "vm",
    "networkinterfaces": "nic",
    "disks": "disk",
    "virtualnetworks": "vnet",
    "subnets": "subnet",
    "roleassignments": "role",
    "permissions": "permissions",
    "skus": "skus",
    "usages": "usages",
    "instanceview": "view",
    "retrievebootdiagnosticsdata": "log",
}
_SINGLE = ("view", "log")
"""Of one VM, though no name follows them in the path."""


def policies() -> list[AsyncHTTPPolicy[Any, Any]]:
    """For the SDKs' `per_retry_policies`; none where nobody listens."""
    return [Watched()] if metrics.is_on() or traces.is_on() else []


class Watched(AsyncHTTPPolicy[Any, Any]):  # type: ignore[misc]
    """Counts and times a request, and has azure-core make a span of it where an activity has one.

    azure-core's own switch for tracing stays off: with it each operation has a second span.
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
            _tell(kind, method, 0, describe(error)["code"], began)
            raise
        status = response.http_response.status_code
        _tell(kind, method, status, await _code(response) if status >= 400 else None, began)
        return response


def kind_of(method: str, url: str) -> str:
    """`vm.put`, `nic.list`, `role.delete`, …: the words of docs/fault-injection.md; else `other`."""
    path = urlsplit(url).path.rstrip("/")
    if re.fullmatch(r"/subscriptions/[^/]+/resourcegroups/[^/]+", path, re.IGNORECASE):
        return f"group.{method.lower()}"
    parts = re.split("/providers/", path, flags=re.IGNORECASE)[-1].split("/")[1:]
    # type, name, type, name, …: an even number names one resource, an odd one all of a type.
    last = parts[-1 - (len(parts) + 1) % 2] if parts else ""
    name = _TYPES.get(last.lower())
    if name is None:
        return "other"
    is_list = len(parts) % 2 == 1 and name not in _SINGLE
    return f"{name}.{'list' if is_list else method.lower()}"


async def _code(response: PipelineResponse[Any, Any]) -> str:
    answer = response.http_response
    with suppress(AzureError):  # whoever reads it next meets the same
        # Operations that go on in the background leave the body to be read; that can be done twice.
        await (answer.read() if hasattr(answer, "read") else answer.load_body())
    return describe(HttpResponseError(response=answer, error_format=ARMErrorFormat))["code"]


def _tell(kind: str, method: str, status: int, code: str | None, began: float) -> None:
    took = time.perf_counter() - began
    attributes = {
        "powerlift.arm.kind": kind,
        "http.request.method": method,
        "powerlift.arm.status": f"{status // 100}xx",
    }
    metrics.measure("powerlift.arm.duration", took, attributes)
    metrics.measure("powerlift.arm.requests", 1, {**attributes, "error.type": code})
