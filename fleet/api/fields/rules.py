"""Rules between the fields of a request, each with its JSON Schema where JSON Schema can express it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]
"""A request's JSON, not validated yet."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination of fields that is invalid."""

    pointer: str
    detail: str
    is_violated: Callable[[Body], bool]
    schema: dict[str, Any] | None = None
    """The rule as a schema of the whole request; None if a field's own schema states it."""


def violated_rules(body: Body) -> Iterator[Rule]:
    return (rule for rule in RULES if rule.is_violated(body))


def _account(body: Body) -> Mapping[str, Any]:
    account = body.get("azure_json")
    return account if isinstance(account, Mapping) else {}


def _fallbacks(body: Body) -> list[Mapping[str, Any]]:
    listed = body.get("fallbacks")
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def _tag_keys(body: Body) -> list[str]:
    tags = body.get("tags")
    return [key.strip().lower() for key in tags] if isinstance(tags, Mapping) else []


def _secret_without_account(body: Body) -> bool:
    account = _account(body)
    complete = account.get("tenant_id") and account.get("client_id")
    return account.get("client_secret") is not None and not complete


def _minimum_above_total(body: Body) -> bool:
    minimum, total = body.get("min_instances"), body.get("n_instances")
    return isinstance(minimum, int) and isinstance(total, int) and minimum > max(total, 1)


def _price_without_spot(body: Body) -> bool:
    candidates = [body, *_fallbacks(body)]
    is_regular = all(one.get("priority") != "Spot" for one in candidates)
    return body.get("max_price") is not None and is_regular


def _given(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _is(name: str, value: Any) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"const": value}}}


CLIENT_SECRET_SCHEMA: dict[str, Any] = {
    "if": _given("client_secret"),
    "then": {"allOf": [_given("tenant_id"), _given("client_id")]},
}
"""For `azure_json`."""
_TAG = r"[^<>%&\\?/\x00-\x1f\x7f]"
TAG_KEY_SCHEMA: dict[str, Any] = {
    "pattern": rf"^{_TAG}*[^\s{_TAG[2:]}{_TAG}*$",
    "maxLength": 256,
    "not": {"pattern": r"^\s*[Pp][Oo][Ww][Ee][Rr][Ll][Ii][Ff][Tt]-"},
}
"""For the keys of `tags`."""
NAME_SCHEMA: dict[str, Any] = {"not": {"type": "string", "pattern": r"^(latest$|fleet-)"}}
"""For `name`."""
IMAGE_PARTS = ("image_publisher", "image_offer", "image_sku", "image_version")
_NO_LOCATION = {"properties": {"location": {"type": "null"}}}


def _beside_image_id(part: str) -> Rule:
    return Rule(
        f"/{part}",
        f"{part} cannot be set together with image_id, which names another image. Omit one of them.",
        lambda body: body.get("image_id") is not None and part in body,
        # No schema: one more alternative, and generators of requests give up on all of them.
    )


RULES = (
    *map(_beside_image_id, IMAGE_PARTS),
    Rule(
        "/name",
        "`latest` and names that begin with `fleet-` are reserved.",
        lambda body: re.match(NAME_SCHEMA["not"]["pattern"], str(body.get("name"))) is not None,
    ),
    Rule(
        "/azure_json/client_secret",
        "This field requires tenant_id and client_id.",
        _secret_without_account,
    ),
    Rule("/min_instances", "min_instances must not exceed n_instances.", _minimum_above_total),
    Rule(
        "/max_price",
        "max_price requires priority Spot, in the request or in a fallback.",
        _price_without_spot,
        {
            "if": _given("max_price"),
            "then": {
                "anyOf": [
                    _is("priority", "Spot"),
                    {
                        "required": ["fallbacks"],
                        "properties": {"fallbacks": {"contains": _is("priority", "Spot")}},
                    },
                ]
            },
        },
    ),
    Rule(
        "/max_cost",
        "max_cost requires delete_on_complete: VMs that are kept would exceed it.",
        lambda body: body.get("max_cost") is not None and body.get("delete_on_complete") is False,
        {
            "if": _given("max_cost"),
            "then": {"properties": {"delete_on_complete": {"not": {"const": False}}}},
        },
    ),
    Rule(
        "/fallbacks",
        "A fallback must set at least one of location, vm_size, zone and priority.",
        lambda body: any(not one for one in _fallbacks(body)),
    ),
    Rule(
        "/fallbacks",
        "With subnet_id, a fallback cannot set location: all VMs must be in the subnet's region.",
        lambda body: (
            bool(body.get("subnet_id")) and any(one.get("location") for one in _fallbacks(body))
        ),
        {
            "if": _given("subnet_id"),
            "then": {"properties": {"fallbacks": {"items": _NO_LOCATION}}},
        },
    ),
    Rule(
        "/outbound",
        "outbound existing requires subnet_id.",
        lambda body: body.get("outbound") == "existing" and not body.get("subnet_id"),
        {"if": _is("outbound", "existing"), "then": _given("subnet_id")},
    ),
    Rule(
        "/subnet_id",
        "subnet_id requires outbound existing: the app does not change an existing subnet.",
        lambda body: bool(body.get("subnet_id")) and body.get("outbound") != "existing",
        {"if": _given("subnet_id"), "then": _is("outbound", "existing")},
    ),
    Rule(
        "/tags",
        "A tag key must not contain < > % & \\ ? / or control characters.",
        lambda body: any(re.search(r"[<>%&\\?/\x00-\x1f\x7f]", key) for key in _tag_keys(body)),
    ),
    Rule(
        "/tags",
        "Tag keys that start with powerlift- are reserved (Azure ignores case).",
        lambda body: any(key.startswith("powerlift-") for key in _tag_keys(body)),
    ),
)

CROSS_FIELD_SCHEMAS: list[Any] = [rule.schema for rule in RULES if rule.schema is not None]
"""For the whole request."""
