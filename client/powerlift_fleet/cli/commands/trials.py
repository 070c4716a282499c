"""The trials of a fleet."""

from __future__ import annotations

from typing import Any

import click

from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.options.fleet_argument import FLEET
from powerlift_fleet.cli.session import Session, connected, say, say_which, screens

TRIAL_STATES = ("failed", "complete", "running", "ready")


@click.command()
@FLEET
@click.option("--state", type=click.Choice(TRIAL_STATES), help="Trials in this state only.")
@click.option("--traceback", is_flag=True, help="Print the traceback of each failed trial.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N",
              help="Maximum number of trials; default: all.")  # fmt: skip
@connected
def trials(session: Session, fleet: str, state: Any, traceback: bool, limit: int | None) -> int:
    """List the trials of a fleet's experiment: method, task, VM, duration, CPU time and memory,
    processor, measures, error.

    VM is the VM's number, or the name of another fleet's VM.

    \b
    Example:
      powerlift-fleet trials fleet-7
      powerlift-fleet trials fleet-7 --state failed --traceback
    """
    with session.client() as client:
        current = client.status(fleet)
        say_which(fleet, current)
        wanted = None if limit is None else limit + 1
        found = client.trials(current.id, state=state, traceback=traceback, limit=wanted)
    shown = found[:limit]
    document = {
        "id": current.id,
        "experiment_id": current.experiment_id,
        "trials": [one.raw for one in shown],
    }
    session.print_result(document, lambda out: screens().trials_screen(shown, out, state))
    models = {one.vm.system.cpu_model for one in shown if one.state == "complete" and one.vm}
    if len(models - {None}) > 1:
        say("These trials ran on different processors: do not compare their times. See cpu_models.")
    if len(shown) < len(found):
        say(f"Showing {limit:,}; there are more. Raise --limit to see them.")
    return exit_codes.OK
