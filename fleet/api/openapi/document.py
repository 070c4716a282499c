"""The OpenAPI 3.1 document, generated from the request model, the response types and the routes."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from fleet.api.openapi import examples
from fleet.api.openapi.parameters import HEADERS, PARAMETERS
from fleet.api.request import FleetRequest
from fleet.api.responses.app import Health, HealthDetails, Problem
from fleet.api.responses.fleets import CancelResponse, Fleet, Fleets, SubmitResponse
from fleet.api.responses.locks import PackageLocks
from fleet.api.responses.machines import Machines
from fleet.api.responses.plan import Plan
from fleet.api.responses.progress import Progress
from fleet.api.responses.request import FleetsRequest
from fleet.api.responses.trials import TrialPage
from fleet.api.routes import (
    INTERNAL_ERROR,
    JSON,
    NO_KEY,
    PROBLEM,
    ROUTES,
    TAGS,
    Response,
    Route,
)

VERSION = "0.1.0"

RESPONSES = tuple[
    SubmitResponse,
    Fleets,
    Fleet,
    CancelResponse,
    FleetsRequest,
    TrialPage,
    Progress,
    Plan,
    Machines,
    PackageLocks,
    Health,
    HealthDetails,
    Problem,
]
"""All JSON responses as one type, so that pydantic emits each shared type once."""

DESCRIPTION = """
Runs Powerlift benchmarks on fleets of Azure VMs: submit, monitor and cancel fleets.

- Times are ISO 8601 in UTC, durations are in seconds, and prices in US dollars, unless noted otherwise.
- Errors are problem details (RFC 9457). A 400 lists every validation error, each with a JSON pointer
  into the body. It never repeats a value.
- Bodies are parsed as strict UTF-8 JSON, regardless of Content-Type: no NaN, no duplicate or unknown
  fields, no numbers as strings. Bodies above one million bytes get a 413. Send a Content-Length: the
  Functions host drops chunked bodies.
- Every GET route also supports HEAD.
- The Functions host itself responds with an empty body: 400 for malformed HTTP, 401 for a missing or
  wrong key, 404 for an unknown path or method, 500 for a crashed process, 503 during a restart. Every
  error of the app itself is a problem, also a 500.
- A POST is safe to retry after a 5xx or a timeout: the same `batch_id` or `Idempotency-Key` never
  starts a second fleet.
- New members may be added to responses. Existing members are stable.
""".strip()

_SECURITY = {
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-functions-key",
        "description": "A function key or host key of the Functions app.",
    },
    "code": {
        "type": "apiKey",
        "in": "query",
        "name": "code",
        "description": "The same key as a query parameter. Prefer the header: URLs are logged.",
    },
}


def openapi_document(base: str = "/api") -> dict[str, Any]:
    """The document for an app whose routes are below `base` (a URL, or a path on the same host).

    Do not modify the result: all callers share it.
    """
    server = {"url": base, "description": "The app that serves this document."}
    return {**_document(), "servers": [server]}


@functools.cache
def _document() -> dict[str, Any]:
    # Cached, because it takes 200 ms of CPU and the route is anonymous.
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Powerlift Fleet",
            "version": VERSION,
            "summary": "Powerlift benchmarks on fleets of Azure VMs.",
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": _SECURITY,
            "responses": {
                "NoKey": _response(NO_KEY),
                "InternalError": _response(INTERNAL_ERROR),
            },
        },
    }


def schemas() -> dict[str, Any]:
    """JSON Schemas of the request and all responses, by name."""
    template = "#/components/schemas/{model}"
    request = FleetRequest.model_json_schema(ref_template=template, schema_generator=_WithoutTitles)
    adapter: TypeAdapter[Any] = TypeAdapter(
        RESPONSES, config=ConfigDict(use_attribute_docstrings=True)
    )
    response_schemas = adapter.json_schema(ref_template=template, schema_generator=_WithoutTitles)
    found = {**request.pop("$defs"), "FleetRequest": request, **response_schemas["$defs"]}
    return {
        **dict(sorted(found.items())),
        "Document": {"type": "object", "description": "An OpenAPI 3.1 document."},
    }


class _WithoutTitles(GenerateJsonSchema):
    """Omits titles such as "Vm Size" for `vm_size`."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _operation(route: Route) -> dict[str, Any]:
    responses = {str(code): _response(one, route) for code, one in route.responses.items()}
    responses["500"] = {"$ref": "#/components/responses/InternalError"}
    if not route.anonymous:
        responses["401"] = {"$ref": "#/components/responses/NoKey"}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.description,
    }
    if route.anonymous:
        operation["security"] = []
    if route.parameters:
        operation["parameters"] = [
            {"$ref": f"#/components/parameters/{name}"} for name in route.parameters
        ]
    if route.has_fleet_body:
        operation["requestBody"] = {
            "required": True,
            "description": "The fleet to provision; docs/api.md explains each field.",
            "content": {JSON: {"schema": _ref("FleetRequest"), "examples": examples.REQUESTS}},
        }
    return {**operation, "responses": dict(sorted(responses.items()))}


def _response(response: Response, route: Route | None = None) -> dict[str, Any]:
    document: dict[str, Any] = {"description": response.description}
    if response.headers:
        document["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"} for name in response.headers
        }
    if response.media:
        content: dict[str, Any] = {
            "schema": _ref(response.schema) if response.schema else {"type": "string"}
        }
        example = examples.RESPONSES.get(response.schema or response.media)
        if example is not None:
            content["example"] = example
        document["content"] = {response.media: content}
    if route is not None and route.follow_ups and response.media not in ("", PROBLEM):
        document["links"] = {
            name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
            for name in route.follow_ups
        }
    return document


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
