"""Writes docs/api.md from the OpenAPI document: `python -m docs.api`. A test holds the page to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet.api import examples, openapi
from fleet.api.constraints import RULES
from fleet.api.routes import NO_KEY, ROUTES, Route

PAGE = Path(__file__).with_suffix(".md")

_LIMITS = {
    "minimum": "{} or more",
    "exclusiveMinimum": "above {}",
    "maximum": "{} at most",
    "exclusiveMaximum": "below {}",
    "minLength": "not empty",
    "maxLength": "{} characters at most",
    "maxItems": "{} at most",
    "maxProperties": "{} at most",
}


def page() -> str:
    """The whole page."""
    document = openapi.document()
    parts = [
        "# The API",
        "<!-- Made by `python -m docs.api`; change fleet/api/routes.py, fleet/api/request.py or "
        "fleet/api/responses.py instead. -->",
        openapi.DESCRIPTION,
        "The app has the same as an [OpenAPI](https://spec.openapis.org/oas/v3.1.1) document, for "
        "anybody, at `/api/openapi.json`: code generators, Swagger UI and Postman read it. All other "
        "routes but `/health` and the pages want a function key, in the header `x-functions-key` or the "
        "parameter `code`. In the examples `FLEET_URL` and `FLEET_KEY` are your app's URL and such a "
        "key.",
        "\n".join(_index()),
        *(part for route in ROUTES for part in _route(route, document)),
        *_request(document),
        *_answers(document),
    ]
    return "\n\n".join(parts) + "\n"


def command(route: Route) -> str:
    """The curl command that calls a route."""
    path = route.path.replace("{id}", "fleet-7").replace("{ordinal}", "0")
    words = ["curl"] + (["-X DELETE"] if route.method == "DELETE" else [])
    words.append(f'"$FLEET_URL/api{path}"')
    if not route.anonymous:
        words.append('-H "x-functions-key: $FLEET_KEY"')
    if route.takes_fleet:
        words.append('-H "Content-Type: application/json" \\\n    ')
        words.append(f"-d '{json.dumps(examples.REQUESTS['limits']['value'])}'")
    return " ".join(words).replace("\n     ", "\n    ")


def _index() -> Iterator[str]:
    yield "| route | does |\n|---|---|"
    for route in ROUTES:
        title = f"{route.method} {route.path}"
        anchor = title.lower().replace(" ", "-")
        anchor = "".join(sign for sign in anchor if sign.isalnum() or sign in "-_")
        yield f"| [`{title}`](#{anchor}) | {route.summary} |"


def _route(route: Route, document: dict[str, Any]) -> Iterator[str]:
    operation = document["paths"][route.path][route.method.lower()]
    yield f"## {route.method} {route.path}"
    yield route.description
    yield f"```sh\n{command(route)}\n```"
    named = [document["components"]["parameters"][name] for name in route.parameters]
    if named:
        rows = [f"| `{one['name']}` | {one['in']} | {_cell(one['description'])} |" for one in named]
        yield "\n".join(["| parameter | in | |", "|---|---|---|", *rows])
    rows = []
    for code in operation["responses"]:
        answer = route.answers.get(int(code), NO_KEY)
        body = f"[`{answer.schema}`](#{answer.schema.lower()})" if answer.schema else "text"
        body = "" if not answer.media else "JSON" if answer.schema == "Document" else body
        headers = ", ".join(f"`{name}`" for name in answer.headers)
        rows.append(f"| {code} | {body} | {headers} | {_cell(answer.description)} |")
    yield "\n".join(["| status | body | headers | means |", "|---|---|---|---|", *rows])
    first = next(iter(route.answers.values()))
    example = examples.ANSWERS.get(first.schema)
    if example is not None:
        yield f"```json\n{json.dumps(example, indent=2)}\n```"


def _request(document: dict[str, Any]) -> Iterator[str]:
    schemas = document["components"]["schemas"]
    yield "## The request"
    yield (
        "The body of `POST /fleets` and `POST /plan`, and of a message on the queue. What is left out "
        "has its default; null is the same as left out where a type says so."
    )
    for name in ("FleetRequest", "AzureJson", "Fallback"):
        yield f"### {name}"
        yield schemas[name]["description"]
        yield _table(schemas[name], defaults=True)
    yield "What a request may not say:"
    yield "\n".join(f"- `{rule.pointer}`: {rule.detail}" for rule in RULES)
    yield "### Examples of requests"
    for example in examples.REQUESTS.values():
        yield f"{example['summary']}:"
        yield f"```json\n{json.dumps(example['value'], indent=2)}\n```"


def _answers(document: dict[str, Any]) -> Iterator[str]:
    yield "## Answers"
    for name, schema in document["components"]["schemas"].items():
        if name in ("FleetRequest", "AzureJson", "Fallback", "Document"):
            continue
        yield f"### {name}"
        yield schema["description"]
        yield _table(schema, defaults=False)


def _table(schema: dict[str, Any], *, defaults: bool) -> str:
    required = set(schema.get("required", ()))
    rows = [f"| member | type |{' default |' if defaults else ''} |"]
    rows.append("|---|---|---|---|" if defaults else "|---|---|---|")
    for name, part in schema["properties"].items():
        default = ""
        if defaults:
            known = json.dumps(part.get("default"))
            default = " required |" if name in required else f" `{known}` |"
            default = " |" if "$ref" in part else default
        optional = "" if name in required or defaults else " (may be absent)"
        row = (
            f"| `{name}` | {_cell(_type(part))}{optional} |{default} {_cell(part['description'])} |"
        )
        rows.append(row)
    return "\n".join(rows)


def _type(part: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in part:
        return " or ".join(_type(one) for one in part["anyOf"])
    if "const" in part or "enum" in part:
        return ", ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    kind = str(part["type"])
    if kind == "array":
        kind = f"list of {_type(part['items'])}"
    elif kind == "object":
        values = [part.get("additionalProperties"), *part.get("patternProperties", {}).values()]
        known = next(one for one in values if isinstance(one, dict))
        kind = f"object of {_type(known)}"
    elif "format" in part:
        kind = {"date-time": "time", "uri": "URL", "password": "string (secret)"}[part["format"]]
    limits = [
        words.format(part[limit])
        for limit, words in _LIMITS.items()
        if limit in part and (limit, part[limit]) != ("minimum", 0)
    ]
    return ", ".join([kind, *limits])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n\n", " ").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page())
