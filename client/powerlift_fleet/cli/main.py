"""The commands. Each has an example in its help, which a test runs as printed."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable, Sequence
from typing import Any

import click

from powerlift_fleet._version import __version__
from powerlift_fleet.api.errors import (
    AppUnavailable,
    ConfigurationError,
    FleetError,
    FleetUnreachable,
)
from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.wire import fleet_id
from powerlift_fleet.cli import exit_codes, request_options
from powerlift_fleet.cli.formatting import clean, clean_lines, count
from powerlift_fleet.cli.session import Program, Session, connected, say, show
from powerlift_fleet.cli.watch import INTERVAL, follow, look

STATES = ("refused", "creating", "running", "failed", "deleted")

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _exit_codes() -> str:
    rows = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exit_codes.MEANINGS.items())
    return f"\b\nExit codes:\n{rows}"


@click.group(cls=Program, context_settings=_HELP, epilog=_exit_codes())
@click.version_option(__version__, prog_name="powerlift-fleet")
def cli() -> None:
    """Run Powerlift experiments on fleets of Azure VMs.

    The app is told by --url and --key-file, by FLEET_URL and FLEET_KEY, or by a configuration file
    (~/.config/powerlift-fleet/config.toml). Output is on stdout, messages are on stderr; --json is
    for scripts.

    \b
    Example:
      powerlift-fleet plan --experiment 1 --vms 2 --vm-size Standard_D2s_v5 --zones 1,2,3
      powerlift-fleet submit --experiment 1 --vms 2 --timeout 300 --tag team=ml
      powerlift-fleet status fleet-7 --watch
    """


def _known(ctx: click.Context, param: click.Parameter, typed: str) -> list[str]:
    """The app's fleets that begin as typed, for the shell's completion; none where it is silent."""
    from powerlift_fleet.cli import settings

    try:
        told = settings.Asked(*(ctx.params.get(name) for name in ("url", "key_file", "profile")))
        read = settings.read(told)
        with Session(read.url, read.key, 0, False).client(timeout=3) as client:
            ids = [str(fleet["id"]) for fleet in client.fleets()]
    except FleetError:
        return []
    return [one for one in ids if one.startswith(typed)]


FLEET = click.argument("fleet", shell_complete=_known)
WATCH_INTERVAL = click.option(
    "--interval", type=click.FloatRange(min=0.2), default=INTERVAL, show_default=True,
    metavar="SECONDS", help="Between two looks, with --wait or --watch.",
)  # fmt: skip


@cli.command()
@request_options.request_options
@click.option("--wait", is_flag=True, help="Follow the fleet to its end, as status --watch does.")
@WATCH_INTERVAL
@connected
def submit(session: Session, wait: bool, interval: float, **asked: Any) -> int:
    """Start a fleet, and print its id.

    A fleet needs --experiment and --vms; options are named as the request's fields are. Submitted
    again with the same --batch-id it is the same fleet.

    \b
    Example:
      powerlift-fleet submit --experiment 1 --vms 2 --timeout 300 --tag team=ml
    """
    accepted = _submit(session, request_options.document(**asked))
    fleet = str(accepted["id"])
    if session.as_json:
        session.answer(accepted, line=wait)
    else:
        click.echo(clean(fleet))
        say(
            "Accepted." if accepted["created"] else "It was there already: nothing new was started."
        )
        if not wait:
            say(f"Watch it: powerlift-fleet status {clean(fleet)} --watch")
    return exit_codes.of_fleet(follow(session, fleet, interval)) if wait else exit_codes.OK


def _submit(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    """As the client's, with a batch id that the user learns where no answer comes."""
    chosen = request.get("batch_id") is None
    if chosen:
        request["batch_id"] = new_batch_id()
    try:
        with session.client() as client:
            accepted = client.submit(request)
    except (KeyboardInterrupt, FleetUnreachable, AppUnavailable):
        batch = clean(request["batch_id"], 40)
        say(f"It may have been started. Submit it with --batch-id {batch}: that is the same fleet.")
        raise
    # A repeat of ours may be answered as one, though it is this very command that made the fleet.
    return {**accepted, "created": chosen or accepted["created"]}


@cli.command()
@request_options.request_options
@connected
def plan(session: Session, **asked: Any) -> int:
    """Say what a fleet would meet; nothing is created.

    Takes what submit takes. The exit code is 1 where the fleet could not work.

    \b
    Example:
      powerlift-fleet plan --experiment 1 --vms 2 --vm-size Standard_D2s_v5 --zones 1,2,3
    """
    request = request_options.document(**asked)
    with session.client() as client:
        found = client.plan(request)
    _answer(session, found, lambda out: _screens().plan_screen(found, out))
    return exit_codes.OK if found.get("ok") else exit_codes.FAILED


@cli.command()
@FLEET
@click.option("--watch", is_flag=True, help="Look again until it has ended.")
@WATCH_INTERVAL
@connected
def status(session: Session, fleet: str, watch: bool, interval: float) -> int:
    """Show a fleet: its phase, VMs, trials, failures and times.

    FLEET is its id, fleet-7, or 7 for short. With --watch in a pipe there is a line for each
    change; with --json, a document.

    \b
    Example:
      powerlift-fleet status fleet-7
      powerlift-fleet status fleet-7 --watch
    """
    fleet = fleet_id(fleet)
    if watch:
        return exit_codes.of_fleet(follow(session, fleet, interval))
    with session.client() as client:
        if session.as_json:
            told = client.status(fleet)
            session.answer(told)
            return exit_codes.of_fleet(told)
        view = look(client, fleet)
    show(lambda out: _screens().fleet_screen(view, out))
    return exit_codes.of_fleet(view.status)


@cli.command()
@FLEET
@click.option("--state", "states", multiple=True, type=click.Choice(STATES),
              help="Only those; repeat it for more.")  # fmt: skip
@connected
def machines(session: Session, fleet: str, states: Sequence[str]) -> int:
    """Show a fleet's VMs, those that failed or are gone too.

    \b
    Example:
      powerlift-fleet machines fleet-7 --state failed --state refused
    """
    fleet = fleet_id(fleet)
    with session.client() as client:
        found = [one for one in client.machines(fleet) if not states or one.get("state") in states]
    document = {"id": fleet, "machines": found}
    _answer(session, document, lambda out: _screens().machines_screen(found, out, bool(states)))
    return exit_codes.OK


@cli.command()
@FLEET
@click.argument("ordinal", type=click.IntRange(min=0))
@click.option("--raw", is_flag=True, help="As the VM wrote it, colours and all.")
@connected
def logs(session: Session, fleet: str, ordinal: int, raw: bool) -> int:
    """Show the end of a VM's console, also when the VM is gone.

    ORDINAL is the VM's number, as machines shows it.

    \b
    Example:
      powerlift-fleet logs fleet-7 0
    """
    fleet = fleet_id(fleet)
    with session.client() as client:
        text = client.log(fleet, ordinal)
    if session.as_json:
        session.answer({"id": fleet, "ordinal": ordinal, "log": text})
    else:
        click.echo(
            text if raw else clean_lines(text), nl=not text.endswith("\n"), color=raw or None
        )
    return exit_codes.OK


@cli.command()
@FLEET
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Follow the fleet until nothing is left of it.")
@WATCH_INTERVAL
@connected
def cancel(session: Session, fleet: str, yes: bool, wait: bool, interval: float) -> int:
    """End a fleet and delete its VMs.

    Trials that have ended keep their results. A finished fleet loses what it left standing.

    \b
    Example:
      powerlift-fleet cancel fleet-7 --yes
    """
    fleet = fleet_id(fleet)
    with session.client() as client:
        if not yes:
            _ask(fleet, client.status(fleet))
        accepted = client.cancel(fleet)
    if session.as_json:
        session.answer(accepted, line=wait)
    else:
        say(f"{fleet} is being torn down.")
    if not wait:
        return exit_codes.OK
    ended = exit_codes.of_fleet(follow(session, fleet, interval, cancelled=True))
    return exit_codes.OK if ended == exit_codes.CANCELLED else ended


def _ask(fleet: str, told: dict[str, Any]) -> None:
    """Raises ConfigurationError where there is nobody to ask, click.Abort at a no."""
    if not sys.stdin.isatty():
        raise ConfigurationError(f"There is nobody to ask whether {fleet} is to end: give --yes.")
    running = int((told.get("machines") or {}).get("running") or 0)
    question = f"{fleet} ({clean(told.get('phase'), 20)}, {count(running, 'VM')} running): end it?"
    if not click.confirm(question, err=True):
        say("Nothing was done.")
        raise click.exceptions.Exit(exit_codes.OK)


@cli.command("list")
@connected
def list_fleets(session: Session) -> int:
    """Show all fleets, the newest first.

    \b
    Example:
      powerlift-fleet list
    """
    with session.client() as client:
        fleets = client.fleets()
    _answer(session, {"fleets": fleets}, lambda out: _screens().list_screen(fleets, out))
    return exit_codes.OK


@cli.command()
@FLEET
@click.option("--open", "in_browser", is_flag=True, help="Open it in a browser.")
@click.option("--with-key", is_flag=True, help="Print the URL with the key, for your own browser.")
@connected
def view(session: Session, fleet: str, in_browser: bool, with_key: bool) -> int:
    """Print the URL of a fleet's page.

    The page asks for the key, unless its URL has it (--with-key): do not hand that one on. It is
    never opened with the key, since a browser's arguments can be seen by all.

    \b
    Example:
      powerlift-fleet view fleet-7
    """
    with session.client() as client:
        whole = client.view_url(fleet_id(fleet))
    plain = whole.partition("#")[0]
    url = whole if with_key else plain
    if session.as_json:
        session.answer({"url": url})
    else:
        click.echo(url)
    if in_browser and not webbrowser.open(plain):
        say("There is no browser here; open the URL yourself.")
    return exit_codes.OK


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print what makes a shell complete commands, options and fleets.

    For ~/.bashrc, ~/.zshrc and ~/.config/fish/config.fish, in their order:

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
    assert kind is not None, "click knows the shells that the choice has"
    click.echo(kind(cli, {}, "powerlift-fleet", "_POWERLIFT_FLEET_COMPLETE").source())
    return exit_codes.OK


def _screens() -> Any:
    """The pages, which need rich: loaded where people look, and not for --help or --json."""
    from powerlift_fleet.cli import screens

    return screens


def _answer(session: Session, document: Any, page: Callable[[Any], Any]) -> None:
    if session.as_json:
        session.answer(document)
    else:
        show(page)


def main() -> None:
    """The program. Text that the terminal's encoding lacks is shown as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="powerlift-fleet")
