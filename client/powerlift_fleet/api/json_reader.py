"""Reads JSON objects into frozen dataclasses, by the types of their fields."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime, timezone
from functools import cache
from typing import Any, TypeVar

R = TypeVar("R", bound="Response")


class UnreadableResponse(ValueError):
    """The JSON lacks a required field, or a value has the wrong type."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """The base of every object here."""

    raw: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON object as the app sent it."""

    @property
    def brief(self) -> Mapping[str, object]:
        """What a table of such objects shows, by column."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "raw"}
        nested = (Response, tuple, Mapping)
        return {name: value for name, value in values.items() if not isinstance(value, nested)}


def read(kind: type[R], raw: object) -> R:
    """Read a JSON object. Unknown fields are ignored. Raises UnreadableResponse."""
    if not isinstance(raw, Mapping):
        raise UnreadableResponse(f"{kind.__name__} is not a JSON object")
    values: dict[str, Any] = {"raw": raw}
    key: Any = kind
    for name, (type_, required) in _fields_of(key).items():
        if name in raw:
            try:
                values[name] = _value(type_, raw[name])
            except (AttributeError, TypeError, ValueError) as error:
                raise UnreadableResponse(f"{name}: {error}") from None
        elif required:
            raise UnreadableResponse(f"the field {name} is missing")
    return kind(**values)


@cache
def _fields_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The type of each field, and whether it has no default."""
    types = typing.get_type_hints(kind)
    return {
        one.name: (types[one.name], one.default is MISSING)
        for one in fields(kind)
        if one.name != "raw"
    }


def _value(type_: Any, value: Any) -> Any:
    arguments = typing.get_args(type_)
    if type(None) in arguments:
        return None if value is None else _value(arguments[0], value)
    if typing.get_origin(type_) is tuple:
        return tuple(_value(arguments[0], item) for item in value)
    if arguments:
        return {str(key): _value(arguments[1], item) for key, item in value.items()}
    if issubclass(type_, Response):
        return read(type_, value)
    if type_ is datetime:
        return _time(value)
    if type_ is int and not isinstance(value, bool):
        return int(value)  # a batch_id above 2^53 is a string in JSON
    return value


def _time(text: str) -> datetime:
    """ISO 8601. Python 3.10 reads neither a `Z` nor seven digits of a second."""
    match = re.fullmatch(r"(.+?)(\.\d+)?(Z|[+-]\d\d:\d\d)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    seconds, _, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z") else zone
    return datetime.fromisoformat(seconds + offset).astimezone(timezone.utc)
