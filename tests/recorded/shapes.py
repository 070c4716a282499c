"""What kind of value is where in a JSON document, whatever the values are."""

from __future__ import annotations

import json
import re
from typing import Any

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?(Z|\+00:00)")
_IDENTIFIERS = {
    "guid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "hexadecimal guid": re.compile(r"[0-9a-f]{32}"),
    "time span": re.compile(r"\d+\.\d\d:\d\d:\d\d"),
}


def shape(value: Any) -> Any:
    """`value` with a word for each text: its format, and what is in it where it holds JSON.

    Of an object without a fixed set of keys it says no more than that it is one.
    """
    match value:
        case dict():
            fixed = value and all(key[:1].isupper() for key in value)
            return {key: shape(item) for key, item in value.items()} if fixed else "object"
        case bool() | None:
            return value
        case int():
            return value if value < 0 else "number"
        case list():
            return "list"
        case str():
            return _shape_of_text(value)
        case _:
            return type(value).__name__


def _shape_of_text(text: str) -> str:
    if time := _TIME.fullmatch(text):
        return f"time, {time[2]}"
    for name, pattern in _IDENTIFIERS.items():
        if pattern.fullmatch(text):
            return name
    try:
        return f"JSON of ({shape(json.loads(text))})"
    except ValueError:
        return "text" if text else "empty text"
