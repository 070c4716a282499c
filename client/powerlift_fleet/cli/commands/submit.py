"""Submitting and planning a fleet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from powerlift_fleet.api.errors import AppUnavailable, FleetUnreachable, sentence
from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.responses import Submission
from powerlift_fleet.benchmark import early_plan
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.commands.by_queue import enqueue, queue_options, say_repeatable
from powerlift_fleet.cli.formatting import clean
from powerlift_fleet.cli.options import request_options
from powerlift_fleet.cli.session import Session, connected, say, screens
from powerlift_fleet.cli.watch import INTERVAL, follow

WAIT = click.option("--wait", is_flag=True, help="Watch the new fleet until it has ended.")


@click.command()
@request_options.request_options
@queue_options
@click.option("--no-plan", is_flag=True, help="Do not check first whether the fleet can start.")
@WAIT
@INTERVAL
@connected
def submit(
    session: Session,
    by_queue: bool,
    queue_file: str | None,
    no_plan: bool,
    wait: bool,
    interval: float,
    **fields: Any,
) -> int:
    """Start a fleet and print its short ID.

    --experiment and --vms are required. Options have the names of the request's fields. The same
    --batch-id never starts a second fleet. With --name, every command also accepts the name. A fleet
    that cannot start, as plan shows, is not submitted, except with --by-queue.

    \b
    Example:
      powerlift-fleet submit --experiment 1 --vms 2 --timeout 300 --tag team=ml
      powerlift-fleet submit --experiment 1 --vms 2 --name nightly
    """
    request = request_options.document(**fields)
    if by_queue or queue_file:
        return enqueue(session, queue_file, request, wait, interval)
    if not no_plan:
        with before_start():
            _check_plan(session, request)
    accepted = submit_request(session, request)
    text = "Accepted." if accepted.created else "The fleet already existed; nothing was started."
    return report(session, accepted, text, wait, interval)


def report(session: Session, accepted: Submission, text: str, wait: bool, interval: float) -> int:
    """Print the fleet's short ID and a message; with `wait`, follow the fleet."""
    fleet = clean(accepted.handle)
    if session.as_json:
        session.print_json({**accepted.raw, "created": accepted.created}, line=wait)
    else:
        click.echo(fleet)
        say(text)
        if not wait:
            say(f"Watch it: powerlift-fleet status {fleet} --watch")
    return exit_codes.of_fleet(follow(session, accepted.id, interval)) if wait else exit_codes.OK


def _check_plan(session: Session, request: dict[str, Any]) -> None:
    """Print the plan's warnings. Raises FleetCannotStart with its faults."""
    with session.client() as client:
        checks = early_plan.check_plan(client, request)
    for one in checks:
        if one.status == "warning":
            say(clean(f"Warning: {one.name}: {sentence(one.detail)} {one.advice}"))


@contextmanager
def before_start() -> Iterator[None]:
    """Says after Ctrl-C that nothing was started."""
    try:
        yield
    except KeyboardInterrupt:
        say("Interrupted. Nothing was started.")
        raise


def submit_request(session: Session, request: dict[str, Any]) -> Submission:
    """Print the batch ID if the outcome is unknown."""
    generated = request.get("batch_id") is None
    if generated:
        request["batch_id"] = new_batch_id()
    try:
        with session.client() as client:
            accepted = client.submit(request)
    except (KeyboardInterrupt, FleetUnreachable, AppUnavailable):
        say_repeatable(request)
        raise
    # With a generated ID, "200: exists already" answers the client's own retry.
    return replace(accepted, created=generated or accepted.created)


@click.command()
@request_options.request_options
@click.option("--all", "every", is_flag=True, help="List the checks that passed, too.")
@connected
def plan(session: Session, every: bool, **fields: Any) -> int:
    """Check a request without creating anything.

    Takes the options of submit. Lists what is wrong, and with --all each check. The exit code is 1 if
    the fleet cannot start.

    \b
    Example:
      powerlift-fleet plan --experiment 1 --vms 2 --vm-size Standard_D2s_v5 --zones 1,2,3
    """
    request = request_options.document(**fields)
    with session.client() as client:
        found = client.plan(request)
    session.print_result(found.raw, lambda out: screens().plan_screen(found, out, every))
    return exit_codes.OK if found.ok else exit_codes.FAILED
