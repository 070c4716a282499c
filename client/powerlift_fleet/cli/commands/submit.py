"""Submitting and planning a fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from powerlift_fleet.api.errors import AppUnavailable, FleetUnreachable
from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.responses import Submission
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.commands.by_queue import enqueue, queue_options
from powerlift_fleet.cli.formatting import clean
from powerlift_fleet.cli.options import request_options
from powerlift_fleet.cli.session import Session, connected, say, screens
from powerlift_fleet.cli.watch import INTERVAL, follow


@click.command()
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
    accepted = submit_request(session, request)
    fleet = clean(accepted.handle)
    if session.as_json:
        session.print_json({**accepted.raw, "created": accepted.created}, line=wait)
    else:
        click.echo(fleet)
        say("Accepted." if accepted.created else "The fleet already existed; nothing was started.")
        if not wait:
            say(f"Watch it: powerlift-fleet status {fleet} --watch")
    return exit_codes.of_fleet(follow(session, accepted.id, interval)) if wait else exit_codes.OK


def submit_request(session: Session, request: dict[str, Any]) -> Submission:
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


@click.command()
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
    session.print_result(found.raw, lambda out: screens().plan_screen(found, out))
    return exit_codes.OK if found.ok else exit_codes.FAILED
