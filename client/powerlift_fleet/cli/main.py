"""The commands. A test runs each example of their help as printed."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import click

from powerlift_fleet._version import __version__
from powerlift_fleet.api.errors import (
    AppUnavailable,
    ConfigurationError,
    FleetUnreachable,
)
from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.responses import FleetStatus, Submission
from powerlift_fleet.cli import exit_codes, request_options
from powerlift_fleet.cli.by_queue import enqueue, queue_options
from powerlift_fleet.cli.describe import label
from powerlift_fleet.cli.fleet_argument import FLEET, say_which
from powerlift_fleet.cli.formatting import clean, clean_lines, count
from powerlift_fleet.cli.list_options import list_options
from powerlift_fleet.cli.session import Program, Session, connected, say, show
from powerlift_fleet.cli.snapshot import take_snapshot
from powerlift_fleet.cli.watch import POLL_SECONDS, follow

STATES = ("refused", "creating", "running", "failed", "deleted")

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _exit_codes() -> str:
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())
    return f"\b\nExit codes:\n{rows}"


@click.group(cls=Program, context_settings=_HELP, epilog=_exit_codes())
@click.version_option(__version__, prog_name="powerlift-fleet")
def cli() -> None:
    """Run Powerlift experiments on fleets of Azure VMs.

    Set the app with FLEET_URL and FLEET_KEY, with --url and --key-file after the command, or with a
    configuration file (~/.config/powerlift-fleet/config.toml). Output goes to stdout, messages to
    stderr; --json is for scripts.

    \b
    Example:
      powerlift-fleet plan --experiment 1 --vms 2 --vm-size Standard_D2s_v5 --zones 1,2,3
      powerlift-fleet submit --experiment 1 --vms 2 --timeout 300 --tag team=ml
      powerlift-fleet status fleet-7 --watch
    """


INTERVAL = click.option(
    "--interval", type=click.FloatRange(min=0.2), default=POLL_SECONDS, show_default=True,
    metavar="SECONDS", help="Between two polls, with --wait or --watch.",
)  # fmt: skip


@cli.command()
@request_options.request_options
@queue_options
@click.option("--wait", is_flag=True, help="Watch the fleet until it has ended.")
@INTERVAL
@connected
def submit(
    session: Session,
    by_queue: bool,
    queue_file: str | None,
    wait: bool,
    interval: float,
    **fields: Any,
) -> int:
    """Start a fleet and print its short ID.

    --experiment and --vms are required. Options have the names of the request's fields. The same
    --batch-id never starts a second fleet. With --name, every command also accepts the name.

    \b
    Example:
      powerlift-fleet submit --experiment 1 --vms 2 --timeout 300 --tag team=ml
      powerlift-fleet submit --experiment 1 --vms 2 --name nightly
    """
    request = request_options.document(**fields)
    if by_queue or queue_file:
        return enqueue(session, queue_file, request, wait, interval)
    accepted = _submit(session, request)
    fleet = clean(accepted.handle)
    if session.as_json:
        session.print_json({**accepted.raw, "created": accepted.created}, line=wait)
    else:
        click.echo(fleet)
        say("Accepted." if accepted.created else "The fleet already existed; nothing was started.")
        if not wait:
            say(f"Watch it: powerlift-fleet status {fleet} --watch")
    return exit_codes.of_fleet(follow(session, accepted.id, interval)) if wait else exit_codes.OK


def _submit(session: Session, request: dict[str, Any]) -> Submission:
    """Print the batch ID if the outcome is unknown."""
    generated = request.get("batch_id") is None
    if generated:
        request["batch_id"] = new_batch_id()
    try:
        with session.client() as client:
            accepted = client.submit(request)
    except (KeyboardInterrupt, FleetUnreachable, AppUnavailable):
        batch = clean(request["batch_id"], 40)
        say(f"The fleet may have started. It is safe to retry with --batch-id {batch}.")
        raise
    # With a generated ID, "200: exists already" answers the client's own retry.
    return replace(accepted, created=generated or accepted.created)


@cli.command()
@request_options.request_options
@connected
def plan(session: Session, **fields: Any) -> int:
    """Check a request without creating anything.

    Takes the options of submit. The exit code is 1 if the fleet cannot start.

    \b
    Example:
      powerlift-fleet plan --experiment 1 --vms 2 --vm-size Standard_D2s_v5 --zones 1,2,3
    """
    request = request_options.document(**fields)
    with session.client() as client:
        found = client.plan(request)
    _print(session, found.raw, lambda out: _screens().plan_screen(found, out))
    return exit_codes.OK if found.ok else exit_codes.FAILED


@cli.command()
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
    show(lambda out: _screens().fleet_screen(snapshot, out))
    return exit_codes.of_fleet(snapshot.status)


@cli.command()
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
    _print(session, document, lambda out: _screens().machines_screen(found, out, bool(states)))
    return exit_codes.OK


@cli.command()
@FLEET
@click.argument("ordinal", type=click.IntRange(min=0))
@click.option("--raw", is_flag=True, help="Print the log unchanged, with colours.")
@connected
def logs(session: Session, fleet: str, ordinal: int, raw: bool) -> int:
    """Print the end of a VM's console output, also after the VM was deleted.

    ORDINAL is the VM's number in the output of machines.

    \b
    Example:
      powerlift-fleet logs fleet-7 0
    """
    with session.client() as client:
        current = client.status(fleet)
        say_which(fleet, current)
        text = client.log(current.id, ordinal)
    if session.as_json:
        session.print_json({"id": current.id, "ordinal": ordinal, "log": text})
    else:
        click.echo(
            text if raw else clean_lines(text), nl=not text.endswith("\n"), color=raw or None
        )
    return exit_codes.OK


@cli.command()
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
        say(f"Cancelling {label(current)}; its resources are being deleted.")
    if not wait:
        return exit_codes.OK
    ended = exit_codes.of_fleet(follow(session, current.id, interval, cancelled=True))
    return exit_codes.OK if ended == exit_codes.CANCELLED else ended


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


@cli.command("list")
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
    _print(session, document, lambda out: _screens().list_screen(fleets, out))
    if len(found) > limit:
        say(f"Showing {limit:,}; more fleets match. Raise --limit to see them.")
    return exit_codes.OK


@cli.command()
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


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print a script that completes commands, options and fleets.

    For ~/.bashrc, ~/.zshrc and ~/.config/fish/config.fish:

    \b
      eval "$(powerlift-fleet completion bash)"
      eval "$(powerlift-fleet completion zsh)"
      powerlift-fleet completion fish | source

    \b
    Example:
      powerlift-fleet completion bash
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 (click supports every shell of the choice)
    click.echo(kind(cli, {}, "powerlift-fleet", "_POWERLIFT_FLEET_COMPLETE").source())
    return exit_codes.OK


def _screens() -> Any:
    """Needs rich, which --help and --json do without."""
    from powerlift_fleet.cli import screens

    return screens


def _print(session: Session, document: Any, screen: Callable[[Any], Any]) -> None:
    if session.as_json:
        session.print_json(document)
    else:
        show(screen)


def main() -> None:
    """Characters that the terminal's encoding lacks are printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="powerlift-fleet")
