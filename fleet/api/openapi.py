"""The API as an OpenAPI 3.1 document, made of the models that validate and the types that answer."""

from __future__ import annotations

import functools
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from fleet.api import examples, responses
from fleet.api.request import FleetRequest
from fleet.api.routes import (
    HEADERS,
    JSON,
    NO_KEY,
    PARAMETERS,
    PROBLEM,
    ROUTES,
    TAGS,
    Answer,
    Route,
)

VERSION = "0.1.0"

ANSWERS = tuple[
    responses.Submitted,
    responses.Fleets,
    responses.Fleet,
    responses.Cancelled,
    responses.Progress,
    responses.Plan,
    responses.Machines,
    responses.Health,
    responses.Problem,
]
"""Every answer in JSON. As one type: pydantic then names what they share once."""

DESCRIPTION = """
Runs Powerlift benchmarks on fleets of Azure VMs: submit a fleet, see how it goes, cancel it.

- Times are ISO 8601 in UTC, durations seconds, prices US dollars, unless a member says otherwise.
- Errors are problem details (RFC 9457). A request that is refused learns every reason at once, each with
  a JSON pointer into the body, and without the value.
- Bodies are read as JSON in UTF-8, whatever their Content-Type, and strictly: no NaN, no name twice in
  an object, no unknown field, no number as text; a million bytes at most, else 413. A request needs a
  Content-Length: the Functions host drops a chunked body.
- HEAD is answered wherever GET is.
- What the Functions host answers itself has an empty body: 400 for what is no HTTP; 401 without a
  fitting key; 404 for an unknown path, and for a method that a path does not have; 500 after a fault of
  ours; 503 while it restarts.
- A POST that met a 5xx, or no answer, can be sent again: under the same `batch_id` or
  `Idempotency-Key` it is one fleet.
- Members may be added to answers. Members that are here stay.
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
        "description": "The same key as a parameter. URLs end up in logs: prefer the header.",
    },
}


def document(base: str = "/api") -> dict[str, Any]:
    """The document, for an app whose routes are below `base`: a URL, or a path on the same host.

    Not to be changed: but for `servers` it is one for all.
    """
    server = {"url": base, "description": "The app that gave you this document."}
    return {**_document(), "servers": [server]}


@functools.cache
def _document() -> dict[str, Any]:
    # Once: it takes 200 ms of CPU, and anybody may ask, in as many spellings as /api has.
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
            "responses": {"NoKey": _response(NO_KEY)},
        },
    }


def schemas() -> dict[str, Any]:
    """JSON Schemas by name: the request's, and those of all answers."""
    template = "#/components/schemas/{model}"
    request = FleetRequest.model_json_schema(ref_template=template, schema_generator=_WithoutTitles)
    adapter: TypeAdapter[Any] = TypeAdapter(
        ANSWERS, config=ConfigDict(use_attribute_docstrings=True)
    )
    told = adapter.json_schema(ref_template=template, schema_generator=_WithoutTitles)
    found = {**request.pop("$defs"), "FleetRequest": request, **told["$defs"]}
    return {
        **dict(sorted(found.items())),
        "Document": {"type": "object", "description": "An OpenAPI 3.1 document."},
    }


class _WithoutTitles(GenerateJsonSchema):
    """`vm_size` needs no title "Vm Size"."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _operation(route: Route) -> dict[str, Any]:
    responses = {str(code): _response(answer, route) for code, answer in route.answers.items()}
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
    if route.takes_fleet:
        operation["requestBody"] = {
            "required": True,
            "description": "The fleet that is wanted; docs/api.md explains each field.",
            "content": {JSON: {"schema": _ref("FleetRequest"), "examples": examples.REQUESTS}},
        }
    return {**operation, "responses": dict(sorted(responses.items()))}


def _response(answer: Answer, route: Route | None = None) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        response["headers"] = {
            name: {"$ref": f"#/components/headers/{name}"} for name in answer.headers
        }
    if answer.media:
        content: dict[str, Any] = {
            "schema": _ref(answer.schema) if answer.schema else {"type": "string"}
        }
        example = examples.ANSWERS.get(answer.schema or answer.media)
        if example is not None:
            content["example"] = example
        response["content"] = {answer.media: content}
    if route is not None and route.leads_to and answer.media not in ("", PROBLEM):
        response["links"] = {
            name: {"operationId": name, "parameters": {"id": "$response.body#/id"}}
            for name in route.leads_to
        }
    return response


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
