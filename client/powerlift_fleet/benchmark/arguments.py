"""Checks of Python arguments, before anything is created or sent. All raise ConfigurationError."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from powerlift_fleet.api.errors import ConfigurationError

_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*[KMGT]?(?:i?B)?\s*", re.IGNORECASE)
"""As the runner reads it."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def text_or_none(name: str, value: Any, example: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ConfigurationError(f"{name} must be one text, such as {example!r}, and not {value!r}.")


def text_or_file_or_none(name: str, value: Any) -> str | None:
    """A text, or that of a file."""
    if not isinstance(value, Path):
        return text_or_none(name, value, "numpy==2.1.0 …")
    try:
        return value.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name} cannot be read: {error}.") from None


MARKETPLACE_IMAGE = {
    "image_publisher": "canonical",
    "image_offer": "ubuntu-24_04-lts",
    "image_sku": "server",
    "image_version": "latest",
}
"""The executor's defaults, which are Powerlift's."""


def image(image_id: str | None, **marketplace: str) -> dict[str, str]:
    """The fields of an image: those of the marketplace, or a gallery's with what was passed beside it,
    which the app refuses.
    """
    if image_id is None:
        return marketplace
    beside = {name: one for name, one in marketplace.items() if one != MARKETPLACE_IMAGE[name]}
    return {"image_id": image_id, **beside}


def texts_or_none(name: str, values: Any) -> list[str] | None:
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigurationError(f"{name} must be a list of texts, such as [{str(values)!r}].")
    return [str(value) for value in values]


def mappings_or_none(
    name: str, values: Any, example: Mapping[str, str]
) -> list[dict[str, Any]] | None:
    if values is None:
        return None
    if isinstance(values, Mapping | str) or not all(isinstance(one, Mapping) for one in values):
        raise ConfigurationError(f"{name} must be a list of dicts, such as {[dict(example)]}.")
    return [dict(one) for one in values]


def identifier(name: str, value: Any) -> int:
    """An integer; numpy's, and floats without a fraction, too."""
    try:
        number = int(value)
        is_integer = number == value
    except (TypeError, ValueError, OverflowError):
        is_integer = False
    if not is_integer:
        raise ConfigurationError(f"{name} must be an integer, and not {value!r}.")
    return number


def count(name: str, value: Any, least: int) -> int:
    """An integer of at least `least`; numpy's too."""
    number = identifier(name, value)
    if number < least:
        raise ConfigurationError(f"{name} must be {least} or more, and not {value!r}.")
    return number


def duration(text: str) -> float:
    """Seconds of a duration, as in Python and on the command line: 300, 90s, 30m, 12h, 7d, 2w."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise ConfigurationError(
            f"{text!r} is not a duration. Use seconds (300), or a number with a unit: 90s, 30m, 12h, 7d "
            "or 2w."
        )
    return float(match[1]) * _UNITS[match[2]]


def duration_or_none(name: str, value: Any) -> Any:
    """Seconds above 0, or a text for `duration`. None and infinity mean no limit, and are None."""
    if isinstance(value, str):
        try:
            value = duration(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None
    return limit_or_none(name, value)


def limit_or_none(name: str, value: Any) -> Any:
    """A number above 0. None and infinity mean no limit, and are None."""
    if value is None or value == math.inf:
        return None
    try:
        is_limit = float(value) > 0 and not isinstance(value, str)
    except (TypeError, ValueError):
        is_limit = False
    if not is_limit:
        raise ConfigurationError(
            f"{name} must be a number above 0, or None for no limit, and not {value!r}."
        )
    return value


def memory_or_empty(value: str | int | None) -> str:
    """A limit of memory as the runner reads it; empty: no limit."""
    if value is None or not str(value).strip():
        return ""
    match = _MEMORY.fullmatch(str(value))
    if match is None or not float(match[1]) > 0:
        raise ConfigurationError(
            f'memory_limit is {value!r}. Write bytes above 0, or a size such as "8G".'
        )
    return str(value)
