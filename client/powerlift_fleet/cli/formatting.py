"""Text for people: nothing in it can touch the terminal, and numbers and times are in words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what a terminal obeys rather than shows: control characters, directions
and other invisible marks, halves of characters, ends of lines."""

_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")
"""ECMA-48's control sequences."""


def clean(text: object, most: int | None = None) -> str:
    """One line of plain text: control characters as escapes, runs of white space as one space.

    Cut at `most` characters.
    """
    line = _escaped(" ".join(str(text).split()))
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def clean_lines(text: str) -> str:
    """A log as plain text: colours are left out, other control characters shown as escapes."""
    text = _COLOURS.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(_escaped(line.expandtabs()) for line in text.split("\n"))


def _escaped(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _UNSAFE else each
        for each in line
    )


def count(number: int, thing: str) -> str:
    """`1 VM`, `2,000 VMs`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def moment(text: object) -> datetime | None:
    """A time of the API's, or None. Python 3.10 reads neither a `Z` nor seven digits of a second."""
    if not isinstance(text, str):
        return None
    match = re.fullmatch(r"(.+?)(\.\d+)?(Z|[+-]\d\d:\d\d)?", text)
    if match is None:
        return None
    whole, _, zone = match.groups()
    try:
        read = datetime.fromisoformat(whole + ("+00:00" if zone in (None, "Z") else zone))
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=timezone.utc)


def now() -> datetime:
    return datetime.now(timezone.utc)


def clock(when: datetime, today: datetime) -> str:
    """A time on this machine's clock: `14:05`, with the date where it is another day's."""
    here, there = when.astimezone(), today.astimezone()
    date = "" if here.date() == there.date() else f"{here.day} {here:%b} "
    year = "" if here.year == there.year else f"{here.year} "
    return f"{date}{year}{here:%H:%M}"


def relative(when: datetime, today: datetime) -> str:
    """`14:05, in 2 h 10 min`; `13:02, 45 min ago`."""
    away = (when - today).total_seconds()
    if abs(away) < 1:
        return f"{clock(when, today)}, now"
    return f"{clock(when, today)}, " + (f"in {span(away)}" if away > 0 else f"{span(-away)} ago")


def span(seconds: float) -> str:
    """A length of time by its two largest units: `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    if whole.days:
        return f"{whole.days} d {hours} h" if hours else f"{whole.days} d"
    if hours:
        return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"
    return f"{rest // 60} min" if rest >= 60 else f"{rest} s"


def money(amount: float, currency: str) -> str:
    """`$3.42`; as many digits as tell a small amount from nothing."""
    digits = 2 if amount == 0 or amount >= 0.1 else 4
    sign = "$" if currency == "USD" else ""
    return f"{sign}{amount:,.{digits}f}" + ("" if sign else f" {clean(currency, 8)}")


_SIGNS = {"complete": "█", "running": "█", "deleted": "▓", "failed": "▒"}
_PLAIN = {"complete": "#", "running": "#", "deleted": "+", "failed": "!"}
_REST, _PLAIN_REST = "░", "."


def bar_cells(
    parts: Mapping[str, int], total: int, width: int, plain: bool = False
) -> list[tuple[str, str]]:
    """The bar as pieces: kind (empty for what is left) and text; `width` characters in all.

    `plain`: with ASCII alone. No kind shows as full before the last of `total` is there.
    """
    signs, rest = (_PLAIN, _PLAIN_REST) if plain else (_SIGNS, _REST)
    pieces, at, done = [], 0, 0
    for kind, number in parts.items():
        done = min(total, done + number)
        end = width * done // total if total else 0
        pieces.append((kind, signs[kind] * (end - at)))
        at = end
    return [*pieces, ("", rest * (width - at))]
