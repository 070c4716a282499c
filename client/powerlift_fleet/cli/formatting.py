"""Formats text, numbers and times for a terminal. Text from outside cannot control the terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from math import floor, log10

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control characters, invisible marks, surrogates, line ends."""

_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")
"""ECMA-48's control sequences."""


def clean(text: object, most: int | None = None) -> str:
    """One line of at most `most` characters, control characters escaped, white space collapsed."""
    line = _escaped(" ".join(str(text).split()))
    return line if most is None or len(line) <= most else f"{line[: most - 1]}…"


def clean_lines(text: str) -> str:
    """A log without colours, and with other control characters escaped."""
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


def now() -> datetime:
    return datetime.now(timezone.utc)


def clock(when: datetime, today: datetime) -> str:
    """Local time: `14:05`, with the date unless it is today."""
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
    """A duration in its two largest units: `45 s`, `12 min`, `2 h 10 min`, `3 d 4 h`."""
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    if whole.days:
        return f"{whole.days} d {hours} h" if hours else f"{whole.days} d"
    if hours:
        return f"{hours} h {rest // 60} min" if rest >= 60 else f"{hours} h"
    return f"{rest // 60} min" if rest >= 60 else f"{rest} s"


def money(amount: float, currency: str) -> str:
    """`$3.42`, `$0.0211`: below a dollar three significant digits, at least cents; as on the page."""
    digits = 2
    if 0 < amount < 1:
        rounded = f"{amount:.{min(8, 2 - floor(log10(amount)))}f}".rstrip("0")
        digits = max(2, len(rounded) - 2)
    sign = "$" if currency == "USD" else ""
    return f"{sign}{amount:,.{digits}f}" + ("" if sign else f" {clean(currency, 8)}")


_SIGNS = {"complete": "█", "running": "█", "deleted": "▓", "failed": "▒", "": "░"}
_PLAIN = {"complete": "#", "running": "#", "deleted": "+", "failed": "!", "": "."}


def bar_cells(
    parts: Mapping[str, int], total: int, width: int, plain: bool = False
) -> list[tuple[str, str]]:
    """The segments of a bar: kind (empty for the rest) and text, `width` characters in total.

    Kinds differ without colour too. `plain`: ASCII only. The bar is full only at `total`.
    """
    signs = _PLAIN if plain else _SIGNS
    pieces, at, done = [], 0, 0
    for kind, number in parts.items():
        done = min(total, done + number)
        end = width * done // total if total else 0
        pieces.append((kind, signs[kind] * (end - at)))
        at = end
    return [*pieces, ("", signs[""] * (width - at))]
