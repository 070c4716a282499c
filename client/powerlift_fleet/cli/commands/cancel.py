"""Cancelling a fleet."""

from __future__ import annotations

import sys

import click

from powerlift_fleet.api.errors import ConfigurationError
from powerlift_fleet.api.responses import FleetStatus
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.describe import label
from powerlift_fleet.cli.formatting import clean, count
from powerlift_fleet.cli.options.fleet_argument import FLEET
from powerlift_fleet.cli.session import Session, connected, say
from powerlift_fleet.cli.watch import INTERVAL, follow


@click.command()
@FLEET
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
@click.option("--wait", is_flag=True, help="Watch the fleet until its resources are deleted.")
@INTERVAL
@connected
def cancel(session: Session, fleet: str, yes: bool, wait: bool, interval: float) -> int:
    """Cancel a fleet and delete its VMs.

    Results of finished trials are kept. For a fleet that has ended, it deletes the remaining resources.

    \b
    Example:
      powerlift-fleet cancel fleet-7 --yes
    """
    with session.client() as client:
        current = client.status(fleet)
        if not yes:
            _confirm(current)
        elif fleet not in (current.id, current.handle, str(current.number), current.name):
            raise click.UsageError(
                f"With --yes, name the fleet by its ID, number or whole name: {clean(current.handle)}."
            )
        accepted = client.cancel(fleet if yes else current.id)
    if session.as_json:
        session.print_json(accepted.raw, line=wait)
    else:
        say(_accepted(current))
    if not wait:
        return exit_codes.OK
    ended = exit_codes.of_fleet(follow(session, current.id, interval, cancelled=True))
    return exit_codes.OK if ended == exit_codes.CANCELLED else ended


def _accepted(status: FleetStatus) -> str:
    if not status.is_terminal:
        return f"Cancelling {label(status)}; its resources are being deleted."
    ended = f"{label(status)} has already ended ({clean(status.phase, 20)})"
    return f"{ended}; resources that remain, if any, are being deleted."


def _confirm(status: FleetStatus) -> None:
    """Raises ConfigurationError without a terminal, click.Abort on Ctrl-C."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"Not a terminal; pass --yes to cancel {label(status)} without confirmation."
        )
    running = count(status.machines.running, "VM")
    what = f"{label(status)} of experiment {status.experiment_id}"
    question = f"Cancel {what} (phase {clean(status.phase, 20)}, {running} running)?"
    if not click.confirm(question, err=True):
        say("Nothing was changed.")
        raise click.exceptions.Exit(exit_codes.OK)
