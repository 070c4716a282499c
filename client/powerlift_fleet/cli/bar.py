"""A bar of text, which tells its kinds apart without colour too."""

from __future__ import annotations

from collections.abc import Mapping

_SIGNS = {"complete": "█", "running": "█", "deleted": "▓", "failed": "▒"}
_PLAIN = {"complete": "#", "running": "#", "deleted": "+", "failed": "!"}
_REST, _PLAIN_REST = "░", "."


def cells(
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
