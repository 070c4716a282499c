"""The argument FLEET and its completion."""

from __future__ import annotations

import re

import click
from click.shell_completion import CompletionItem

from powerlift_fleet.api.errors import FleetError
from powerlift_fleet.api.responses import FleetListEntry
from powerlift_fleet.api.settings import sources
from powerlift_fleet.cli.formatting import clean

COMPLETED = 200
"""The newest fleets, of one page."""
MIN_PREFIX = 4
"""Digits of a full ID, below which the app accepts no prefix."""


def _complete(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """The newest fleets, for the shell's completion; none if the app does not respond."""
    try:
        options = sources.Options(
            *(ctx.params.get(name) for name in ("url", "key_file", "profile"))
        )
        app = sources.read(options)
        from powerlift_fleet.api.client import FleetClient

        with FleetClient(app.url, app.key, timeout=3, retry_timeout=0) as client:
            fleets = client.fleets(limit=COMPLETED)
    except FleetError:
        return []
    words = {"latest": "the newest fleet"} if fleets else {}
    for fleet in fleets:
        for word in _words(fleet, typed):
            words.setdefault(clean(word, 100), clean(fleet.phase, 20))
    return [CompletionItem(word, help=words[word]) for word in words if word.startswith(typed)]


def _words(fleet: FleetListEntry, typed: str) -> list[str]:
    """The IDs and names of a fleet, in the form that the user has begun to type."""
    words = [fleet.handle, *([fleet.name] if fleet.name else [])]
    if typed.isdecimal():
        words.append(str(fleet.number))
    if re.fullmatch(rf"fleet-[0-9]{{{MIN_PREFIX},}}", typed):
        words.append(fleet.id)
    return words


FLEET = click.argument("fleet", shell_complete=_complete)
OPTIONAL_FLEET = click.argument("fleet", required=False, shell_complete=_complete)
