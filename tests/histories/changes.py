"""What an orchestrator does otherwise than recorded, by the rules of docs/releasing.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from tests.recorded.difference import difference

_TEXTS = {"message", "advice", "reasons", "warnings", "customStatus"}
"""Members that people read: they may change at any time."""
_JSON = {"input", "result"}
_KINDS = {4: "continue_as_new", 5: "a timer", 6: "a wait for an event"}


def change(recorded: str, now: str) -> str | None:
    """The first change, from one output of the SDK to another, that breaks a running fleet.

    Texts may change, and objects may get members.
    """
    before, after = _decoded(json.loads(recorded)), _decoded(json.loads(now))
    pairs = zip_longest(calls(before["actions"]), calls(after["actions"]), fillvalue="nothing")
    for number, (old, new) in enumerate(pairs, 1):
        if old != new:
            return f"call {number} was {old}, and is {new}"
    return difference(before, _without_additions(after, before))


def calls(actions: list[Any]) -> list[str]:
    """The calls in the actions of an output, by their names."""
    return list(_calls(actions))


def _calls(actions: list[Any]) -> Iterator[str]:
    for action in actions:
        if isinstance(action, list):
            yield from _calls(action)
        elif "compoundActions" in action:
            yield from _calls(action["compoundActions"])
        else:
            kind = action["actionType"]
            name = " ".join(filter(None, map(action.get, ("functionName", "instanceId"))))
            yield name or _KINDS.get(kind, f"action type {kind}")


def _decoded(value: Any) -> Any:
    """`value` with the JSON in its inputs as objects, and without texts."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    left_out = _TEXTS | ({"action"} if "count" in value else set())  # a FailureCount's is a text
    left_out |= {"next"} if {"code", "message"} <= value.keys() else set()  # the same text of a VM
    return {
        key: _decoded(json.loads(item) if key in _JSON and isinstance(item, str) else item)
        for key, item in value.items()
        if key not in left_out
    }


def _without_additions(value: Any, recorded: Any) -> Any:
    """`value` without the members that objects in `recorded` lack."""
    if isinstance(value, dict) and isinstance(recorded, dict):
        both = value.keys() & recorded.keys()
        return {key: _without_additions(value[key], recorded[key]) for key in both}
    if isinstance(value, list) and isinstance(recorded, list) and len(value) == len(recorded):
        return [_without_additions(*pair) for pair in zip(value, recorded, strict=True)]
    return value
