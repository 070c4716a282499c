"""What the fields of a request may not say against each other, each rule with its JSON Schema.

The schemas are part of the API's document; what JSON Schema cannot say is in a description there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Asked = Mapping[str, Any]
"""A request as it came: it may hold any other fault as well."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a request may not do."""

    pointer: str
    detail: str
    broken: Callable[[Asked], bool]
    schema: dict[str, Any] | None = None
    """The same for the whole request; None where a part's own schema or a description says it."""


def broken_by(asked: Asked) -> Iterator[Rule]:
    """The rules that a request breaks."""
    return (rule for rule in RULES if rule.broken(asked))


def _account(asked: Asked) -> Mapping[str, Any]:
    account = asked.get("azure_json")
    return account if isinstance(account, Mapping) else {}


def _fallbacks(asked: Asked) -> list[Mapping[str, Any]]:
    listed = asked.get("fallbacks")
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def _tags(asked: Asked) -> list[str]:
    tags = asked.get("tags")
    return [key.strip().lower() for key in tags] if isinstance(tags, Mapping) else []


def _lone_secret(asked: Asked) -> bool:
    account = _account(asked)
    complete = account.get("tenant_id") and account.get("client_id")
    return account.get("client_secret") is not None and not complete


def _more_than_all(asked: Asked) -> bool:
    least, wanted = asked.get("min_instances"), asked.get("n_instances")
    return isinstance(least, int) and isinstance(wanted, int) and least > max(wanted, 1)


def _price_without_spot(asked: Asked) -> bool:
    asks = [asked, *_fallbacks(asked)]
    return asked.get("max_price") is not None and all(one.get("priority") != "Spot" for one in asks)


def _given(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


def _is(name: str, value: Any) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"const": value}}}


LONE_SECRET: dict[str, Any] = {
    "if": _given("client_secret"),
    "then": {"allOf": [_given("tenant_id"), _given("client_id")]},
}
"""Of `azure_json`."""
_TAG = r"[^<>%&\\?/\x00-\x1f\x7f]"
TAG_KEYS: dict[str, Any] = {
    "pattern": rf"^{_TAG}*[^\s{_TAG[2:]}{_TAG}*$",
    "maxLength": 256,
    "not": {"pattern": r"^\s*[Pp][Oo][Ww][Ee][Rr][Ll][Ii][Ff][Tt]-"},
}
"""Of the names in `tags`."""
_NO_LOCATION = {"properties": {"location": {"type": "null"}}}

RULES = (
    Rule(
        "/azure_json/client_secret",
        "A client secret needs tenant_id and client_id beside it.",
        _lone_secret,
    ),
    Rule("/min_instances", "This is above n_instances.", _more_than_all),
    Rule(
        "/max_price",
        "A price limit is for priority Spot only.",
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
        "/fallbacks",
        "A fallback must differ in something: location, vm_size, zone or priority.",
        lambda asked: any(not one for one in _fallbacks(asked)),
    ),
    Rule(
        "/fallbacks",
        "With a subnet of yours (subnet_id) every VM must be in that subnet's region.",
        lambda asked: (
            bool(asked.get("subnet_id")) and any(one.get("location") for one in _fallbacks(asked))
        ),
        {
            "if": _given("subnet_id"),
            "then": {"properties": {"fallbacks": {"items": _NO_LOCATION}}},
        },
    ),
    Rule(
        "/outbound",
        "An existing way out is that of a subnet of yours: name it in subnet_id.",
        lambda asked: asked.get("outbound") == "existing" and not asked.get("subnet_id"),
        {"if": _is("outbound", "existing"), "then": _given("subnet_id")},
    ),
    Rule(
        "/subnet_id",
        "We do not change a subnet of yours: say outbound existing.",
        lambda asked: bool(asked.get("subnet_id")) and asked.get("outbound") != "existing",
        {"if": _given("subnet_id"), "then": _is("outbound", "existing")},
    ),
    Rule(
        "/tags",
        "A key may hold none of < > % & \\ ? / (Azure's rule), and no control characters.",
        lambda asked: any(re.search(r"[<>%&\\?/\x00-\x1f\x7f]", key) for key in _tags(asked)),
    ),
    Rule(
        "/tags",
        "Keys that start with powerlift- are ours; Azure ignores their case.",
        lambda asked: any(key.startswith("powerlift-") for key in _tags(asked)),
    ),
)

TOGETHER: list[Any] = [rule.schema for rule in RULES if rule.schema is not None]
"""Of a whole request: what its fields may not say against each other."""
