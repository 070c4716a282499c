"""HTML for notebooks: small escaped tables without scripts and colours, so that they suit each theme."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import datetime

MAX_TEXT = 400
"""Characters of a cell."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def table(rows: Iterable[Iterable[object]], head: Iterable[str] = ()) -> str:
    """The HTML of a table. Cells are text, numbers, times (in UTC), None (empty), or Html."""
    names = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = ["".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in ([names] if names else []) + lines)
    return f"<table>{body}</table>"


def bold(text: str) -> Html:
    return Html(f"<b>{_text(text)}</b>")


def link(text: str, url: str) -> Html:
    """A link; plain text if the URL is not one of the web."""
    if not url.startswith(("https://", "http://")):
        return Html(_text(text))
    return Html(f'<a href="{html.escape(url)}" target="_blank" rel="noopener">{_text(text)}</a>')


def progress(done: int, total: int) -> Html:
    """A bar; without a total, one that shows activity."""
    value = f' value="{int(done)}" max="{int(total)}"' if total else ""
    return Html(f"<progress{value}></progress>")


def _text(cell: object) -> str:
    if isinstance(cell, Html):
        return cell
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%d %H:%M}"
    text = f"{cell:g}" if isinstance(cell, float) else str(cell)
    return html.escape(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…")
