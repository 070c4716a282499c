"""The options of `list`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from powerlift_fleet.cli.describe import PHASES
from powerlift_fleet.cli.options.request_options import seconds

F = TypeVar("F", bound=Callable[..., Any])

STATUSES = ("active", "ended", *PHASES, "run", "done", "cancelled", "failed")
DEFAULT_LIMIT = 50

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--status", type=click.Choice(STATUSES), metavar="STATUS",
                 help="active, ended, or a phase such as run or failed."),
    click.option("--experiment", metavar="ID|NAME", help="Fleets of this experiment."),
    click.option("--submitted-by", metavar="SUBMITTER",
                 help="Fleets of this submitter, as the list shows it."),
    click.option("--since", type=seconds, metavar="DURATION",
                 help="Fleets submitted within the last 12h or 7d."),
    click.option("--sort", type=click.Choice(("newest", "oldest")), default="newest",
                 show_default=True, help="Which fleets come first."),
    click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True,
                 metavar="N", help="Maximum number of fleets."),
)  # fmt: skip


def list_options(command: F) -> F:
    """Add the filters of `FleetClient.fleets` to a command; `since` is in seconds."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
