"""Logs of VMs: their end, or as they grow."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from powerlift_fleet.api.errors import NotFound
from powerlift_fleet.api.responses import FleetStatus, LogLine
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.describe import handle
from powerlift_fleet.cli.formatting import clean_lines
from powerlift_fleet.cli.options.fleet_argument import FLEET
from powerlift_fleet.cli.session import Session, connected, say, say_which
from powerlift_fleet.cli.watch import POLL_SECONDS

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient


def _ordinal(text: str) -> int:
    found = re.fullmatch(r"(?:powerlift-vm-[0-9]+-)?([0-9]{1,4})", text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a VM. Give its number, or its name.")
    return int(found[1])


@click.command()
@FLEET
@click.argument("vm", type=_ordinal, required=False, metavar="[VM]")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Print the logs of all VMs; each line begins with its VM's number.",
)
@click.option(
    "--follow",
    "-f",
    is_flag=True,
    help="Print new lines too, until the fleet has ended or the VM was deleted.",
)
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    metavar="N",
    help="Print only the last N lines of each VM, of the 32 KB that the app keeps.",
)
@click.option("--raw", is_flag=True, help="Print the log unchanged, with colours.")
@click.option("--interval", type=click.FloatRange(min=0.2), default=POLL_SECONDS, show_default=True,
              metavar="SECONDS", help="Between two reads, with --follow.")  # fmt: skip
@connected
def logs(
    session: Session,
    fleet: str,
    vm: int | None,
    every: bool,
    follow: bool,
    tail: int | None,
    raw: bool,
    interval: float,
) -> int:
    """Print the end of a VM's console output, also after the VM was deleted.

    VM is its number in the output of machines, or its name; a fleet with one VM needs none. How the VM
    ended is on stderr. With --json, --follow and --all print a JSON document for each line.

    \b
    Example:
      powerlift-fleet logs fleet-7 0
      powerlift-fleet logs fleet-7 --all --tail 20
      powerlift-fleet logs fleet-7 0 --follow
    """
    if every and vm is not None:
        raise click.UsageError("Give one VM, or --all.")
    with session.client() as client:
        current = client.status(fleet)
        say_which(fleet, current)
        if vm is None and not every:
            vm = _only_vm(client, current, follow)
        if vm is not None and not follow:
            _print_end(session, client, current.id, vm, tail, raw)
            return exit_codes.OK
        try:
            found = 0
            for line in client.logs(current.id, vm, follow=follow, tail=tail, interval=interval):
                found += 1
                _print_line(session, line, raw, with_vm=vm is None)
        except KeyboardInterrupt:
            say(f"Stopped following; {handle(current)} is not affected.")
            raise
        if vm is not None:
            with suppress(NotFound):
                say(clean_lines(client.log(current.id, vm).partition("\n")[0]))
        elif not found:
            say(f"No VM of {handle(current)} has a log.")
    return exit_codes.OK


def _only_vm(client: FleetClient, fleet: FleetStatus, follow: bool) -> int | None:
    """The fleet's one VM; None while it has none, with `follow`. Raises click.UsageError."""
    ordinals = [one.ordinal for one in client.machines(fleet.id) if one.state != "refused"]
    vms = max(len(ordinals), fleet.machines.wanted)
    if vms > 1:
        raise click.UsageError(
            f"{handle(fleet)} has {vms:,} VMs. Give the number of one, as in the output of machines, "
            "or --all."
        )
    if ordinals:
        return ordinals[0]
    if follow:
        return None
    raise click.UsageError(f"{handle(fleet)} has no VMs yet. Pass --follow to wait for them.")


def _print_end(
    session: Session, client: FleetClient, fleet: str, vm: int, tail: int | None, raw: bool
) -> None:
    text = client.log(fleet, vm)
    title, _, log = text.partition("\n")
    if tail is not None:
        lines = clean_lines(log).splitlines() if not raw else log.splitlines()
        log = "".join(f"{line}\n" for line in lines[max(0, len(lines) - tail) :])
    if session.as_json:
        session.print_json({"id": fleet, "ordinal": vm, "log": f"{title}\n{log}"})
        return
    say(clean_lines(title))
    shown = log if raw else clean_lines(log)
    click.echo(shown, nl=bool(shown) and not shown.endswith("\n"), color=raw or None)


def _print_line(session: Session, line: LogLine, raw: bool, with_vm: bool) -> None:
    if session.as_json:
        click.echo(json.dumps({"machine": line.machine, "line": line.text}))
        return
    text = line.text if raw else clean_lines(line.text)
    click.echo(f"{line.machine}: {text}" if with_vm else text, color=raw or None)
