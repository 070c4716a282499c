"""Where two JSON values differ."""

from __future__ import annotations

from typing import Any


def difference(expected: Any, found: Any, path: str = "$") -> str | None:
    """The first place in which `found` is not `expected`, with both values; None where they agree.

    The order of keys is irrelevant, and 2.0 is 2: both are one JSON value. JSON inside a string is text.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys():
            return f"{path}: keys {sorted(expected)}, not {sorted(found)}"
        pairs = [(f"{path}.{key}", expected[key], found[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = [
            (f"{path}[{i}]", *both) for i, both in enumerate(zip(expected, found, strict=True))
        ]
    else:
        same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
        return None if same else f"{path}: {expected!r:.300}, not {found!r:.300}"
    return next((where for place, a, b in pairs if (where := difference(a, b, place))), None)
