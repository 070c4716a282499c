"""Commands that read: fleets, their VMs and pages."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import click

from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.formatting import clean_lines
from powerlift_fleet.cli.options.fleet_argument import FLEET
from powerlift_fleet.cli.options.list_options import list_options
from powerlift_fleet.cli.session import Session, connected, say, say_which, screens, show
from powerlift_fleet.cli.snapshot import take_snapshot
from powerlift_fleet.cli.watch import INTERVAL, follow

STATES = ("refused", "creating", "running", "failed", "deleted")


@click.command()
@FLEET
@click.option("--watch", is_flag=True, help="Watch the fleet until it has ended.")
@INTERVAL
@connected
def status(session: Session, fleet: str, watch: bool, interval: float) -> int:
    """Show a fleet: phase, VMs, trials, failures and times.

    FLEET is a fleet's number (fleet-7, or 7 for short), its name, its full ID, latest, or an
    unambiguous prefix of one of these. In a pipe, --watch prints a line for each change; with --json,
    a JSON document on a line.

    \b
    Example:
      powerlift-fleet status fleet-7
      powerlift-fleet status fleet-7 --watch
    """
    if watch:
        return exit_codes.of_fleet(follow(session, fleet, interval))
    with session.client() as client:
        if session.as_json:
            current = client.status(fleet)
            session.print_json(current.raw)
            return exit_codes.of_fleet(current)
        snapshot = take_snapshot(client, fleet)
    from powerlift_fleet.cli.fleet_screen import fleet_screen

    show(lambda out: fleet_screen(snapshot, out))
    return exit_codes.of_fleet(snapshot.status)


@click.command()
@FLEET
@click.option("--state", "states", multiple=True, type=click.Choice(STATES),
              help="Show these states only; repeatable.")  # fmt: skip
@connected
def machines(session: Session, fleet: str, states: Sequence[str]) -> int:
    """List a fleet's VMs, including failed and deleted ones.

    \b
    Example:
      powerlift-fleet machines fleet-7 --state failed --state refused
    """
    with session.client() as client:
        current = client.status(fleet)
        say_which(fleet, current)
        found = [one for one in client.machines(current.id) if not states or one.state in states]
    document = {"id": current.id, "machines": [one.raw for one in found]}
    session.print_result(document, lambda out: screens().machines_screen(found, out, bool(states)))
    return exit_codes.OK


@click.command()
@FLEET
@click.option("--architecture", type=click.Choice(["x64", "Arm64"]),
              help="Of the VMs' CPUs; needed if their packages differ.")  # fmt: skip
@connected
def lock(session: Session, fleet: str, architecture: str | None) -> int:
    """Print the packages that all VMs of a fleet install, with versions and hashes.

    The first VM resolves them, or the request contains them. Another fleet installs the same packages
    with submit --requirements-lock FILE.

    \b
    Example:
      powerlift-fleet lock fleet-7
      powerlift-fleet lock fleet-7 | powerlift-fleet submit --experiment 1 --vms 2 --requirements-lock -
    """
    with session.client() as client:
        current = client.status(fleet)
        say_which(fleet, current)
        found = client.locks(current.id)
    locks = [one for one in found if architecture in (None, one.architecture)]
    if session.as_json:
        session.print_json({"id": current.id, "locks": [one.raw for one in locks]})
        return exit_codes.OK
    if not locks:
        say("No VM of the fleet has resolved its packages, or the app's tables are missing.")
        return exit_codes.NOT_FOUND
    if len({one.requirements for one in locks}) > 1:
        raise click.UsageError("The packages of x64 and Arm64 differ: pass --architecture.")
    click.echo(clean_lines(locks[0].requirements), nl=False)
    return exit_codes.OK


@click.command("list")
@list_options
@connected
def list_fleets(session: Session, since: float | None, limit: int, **filters: Any) -> int:
    """List fleets, the newest first.

    \b
    Example:
      powerlift-fleet list
      powerlift-fleet list --status active --since 7d
    """
    ago = None if since is None else timedelta(seconds=since)
    with session.client() as client:
        found = client.fleets(since=ago, limit=limit + 1, **filters)
    fleets = found[:limit]
    document = {"fleets": [fleet.raw for fleet in fleets]}
    session.print_result(document, lambda out: screens().list_screen(fleets, out))
    if len(found) > limit:
        say(f"Showing {limit:,}; more fleets match. Raise --limit to see them.")
    return exit_codes.OK


@click.command()
@FLEET
@click.option("--open", "in_browser", is_flag=True, help="Open the page in a browser.")
@click.option("--with-key", is_flag=True, help="Include the key in the URL; do not share it.")
@connected
def view(session: Session, fleet: str, in_browser: bool, with_key: bool) -> int:
    """Print the URL of a fleet's web page.

    The page asks for the key unless the URL includes it (--with-key). --open never includes it: other
    users could see a browser's arguments.

    \b
    Example:
      powerlift-fleet view fleet-7
    """
    with session.client() as client:
        url_with_key = client.view_url(fleet)
    url_without_key = url_with_key.partition("#")[0]
    url = url_with_key if with_key else url_without_key
    if session.as_json:
        session.print_json({"url": url})
    else:
        click.echo(url)
    if in_browser and not webbrowser.open(url_without_key):
        say("No browser found; open the URL yourself.")
    return exit_codes.OK
