"""Lists of responses: tables in a notebook, and data frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from powerlift_fleet.api import html
from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.json_reader import Response

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_SHOWN = 50
"""Rows of a table in a notebook."""

R = TypeVar("R", bound=Response)


class Rows(tuple[R, ...]):
    """Responses of one kind, as a tuple. A notebook shows them as a table."""

    __slots__ = ()

    def to_frame(self) -> DataFrame:
        """A data frame with a row for each response and a column for each member; those of nested
        objects and mappings are named `placement.location`. Times are in UTC.

        Raises ConfigurationError without pandas.
        """
        rows = [dict(_members(one)) for one in self]
        names = list(dict.fromkeys(name for row in rows for name in row))
        # A nested object that is None in one row has members in another.
        columns = [name for name in names if not any(one.startswith(f"{name}.") for one in names)]
        frame: DataFrame = pandas().DataFrame(rows, columns=columns)
        return frame

    def _repr_html_(self) -> str:
        rows = [one.brief for one in self[:MOST_SHOWN]]
        shown = html.table((row.values() for row in rows), rows[0] if rows else ("None.",))
        more = len(self) - MOST_SHOWN
        return shown + (f"<p>{more:,} more rows: to_frame() has all.</p>" if more > 0 else "")


def pandas() -> Any:
    """Raises ConfigurationError."""
    return optional("pandas", "A data frame")


def optional(package: str, user: str) -> Any:
    """A package that this one does not install; `user` requires it. Raises ConfigurationError."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigurationError(
            f"{user} requires {package}, which cannot be imported: {error}. pip install {package}"
        ) from None


def _members(response: Response, prefix: str = "") -> Iterator[tuple[str, object]]:
    for member in fields(response):
        name, value = f"{prefix}{member.name}", getattr(response, member.name)
        if member.name == "raw":
            continue
        if isinstance(value, Response):
            yield from _members(value, f"{name}.")
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", one) for key, one in value.items())
        else:
            yield name, value
