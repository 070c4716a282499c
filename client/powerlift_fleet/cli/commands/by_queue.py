"""Submission through the storage queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.settings import sources
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.formatting import clean
from powerlift_fleet.cli.session import Session, say, warn
from powerlift_fleet.cli.watch import follow

F = TypeVar("F", bound=Callable[..., Any])


def queue_options(command: F) -> F:
    """Add --by-queue and --queue-file to a command. No option takes a SAS: other users could see it."""
    by_queue = click.option(
        "--by-queue", is_flag=True,
        help="Submit through the app's storage queue at FLEET_QUEUE_URL, without access to the app.",
    )  # fmt: skip
    queue_file = click.option(
        "--queue-file", metavar="FILE",
        help="File with the queue's URL, in place of FLEET_QUEUE_URL, or - for stdin.",
    )  # fmt: skip
    return by_queue(queue_file(command))


def say_repeatable(request: Mapping[str, Any]) -> None:
    """For a request whose outcome is unknown."""
    batch = clean(request["batch_id"], 40)
    say(f"The fleet may have started. It is safe to retry with --batch-id {batch}.")


def enqueue(
    session: Session, file: str | None, request: dict[str, Any], wait: bool, interval: float
) -> int:
    """Submit a request and print the fleet's ID.

    `file` has the queue's URL; default: FLEET_QUEUE_URL. `wait`: watch the fleet over HTTP to its end.
    """
    from powerlift_fleet import storage_queue

    storage, warnings = sources.queue(file)
    warn(warnings)
    if request.get("batch_id") is None:
        request["batch_id"] = new_batch_id()
    try:
        queued = storage_queue.submit_by_queue(storage, request)
    except KeyboardInterrupt:
        say_repeatable(request)
        raise
    queue = storage_queue.read_address(storage).name
    if session.as_json:
        session.print_json(queued.raw, line=wait)
    else:
        click.echo(queued.id)
        say(
            f"Queued as message {clean(queued.message_id)}. If the app refuses the request, its log has "
            f"the reason under this ID, and the queue {clean(queue)}-poison has a copy."
        )
    if not wait:
        return exit_codes.OK
    with session.client() as client:
        storage_queue.wait_until_read(client, queued.id, queue)
    return exit_codes.of_fleet(follow(session, queued.id, interval))
