"""The storage queue: the same request as over HTTP, one message a fleet."""

from __future__ import annotations

import base64
import binascii
import json
import os
from bisect import bisect_right
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.api import strict_json
from fleet.api.redaction import redacted
from fleet.api.request import InvalidRequest
from fleet.secrets import SealBroken
from fleet.settings import SettingsError
from fleet.store.claims import AlreadyUsed, LeaseHeld, TooManyVms
from fleet.store.database import DatabaseUnreachable
from fleet.store.schema import SchemaTooNew
from triggers import callers, submission
from triggers.durable_client import TaskHubUnavailable

bp = df.Blueprint()

# Read here and not as %FLEET_QUEUE% in the binding, which cannot have a default.
QUEUE = os.environ.get("FLEET_QUEUE") or "powerlift-fleets"


def connection_of(environment: Mapping[str, str]) -> str:
    """The `connection` of the bindings: the host reads a setting of this name, or a group NAME__*."""
    own = "FLEET_QUEUE_CONNECTION"
    is_set = any(name.partition("__")[0] == own for name, value in environment.items() if value)
    return own if is_set else "AzureWebJobsStorage"


CONNECTION = connection_of(os.environ)

REFUSALS = (InvalidRequest, AlreadyUsed)
"""What can never be a fleet."""

OUTAGES = (
    TaskHubUnavailable, DatabaseUnreachable, LeaseHeld, SchemaTooNew, SettingsError, SealBroken,
    TooManyVms,
)  # fmt: skip
"""What may pass, in a minute or in hours: the message is retried for as long as it lives."""

TRIES = 5
"""Deliveries after which an unexpected error makes a message poison."""

MESSAGE_BYTES = 65_536
"""The maximum size of a message's text."""


def _last_delivery() -> int:
    """The delivery at which the app itself moves a message to the poison queue, without its secrets.

    After `maxDequeueCount` deliveries the host would move it unchanged: when every try ends by an
    outage, a timeout or a crash. host.json sets a million, more than a message of seven days lives to
    see, because the host cannot distinguish an outage from a bad message. One delivery is spare.
    """
    host = json.loads((Path(__file__).parent.parent / "host.json").read_text())
    limit = host["extensions"]["queues"]["maxDequeueCount"]
    overriding = "azurefunctionsjobhost__extensions__queues__maxdequeuecount"
    limits = [value for name, value in os.environ.items() if name.lower() == overriding]
    return int(limits[0] if limits else limit) - 1


LAST_DELIVERY = _last_delivery()


class Unexpected(RuntimeError):
    """An error that the app did not expect, without its text, which may hold a secret."""


@bp.function_name("submit_fleet_from_queue")
@bp.queue_trigger(arg_name="message", queue_name=QUEUE, connection=CONNECTION)
@bp.queue_output(arg_name="poison", queue_name=f"{QUEUE}-poison", connection=CONNECTION)
@bp.durable_client_input(client_name="client")
async def submit_fleet_from_queue(
    message: func.QueueMessage, poison: func.Out[bytes], client: Any
) -> None:
    """A message delivered twice is one fleet: without batch_id, the message's id is the key.

    What can never be a fleet goes to the poison queue at once, without its secrets. An error that is
    raised makes the host hide the message for `visibilityTimeout` and deliver it again.
    """
    content = message.get_body()
    body, is_base64 = _decoded(content)
    if (message.dequeue_count or 1) >= LAST_DELIVERY:
        _log_failed(message)
        reason: str | None = (
            f"It failed {message.dequeue_count} times. The app's log has the reasons."
        )
    else:
        reason = await _refusal(message, body, client)
    if reason is not None:
        poison.set(_poison(str(message.id), reason, body, is_base64))


async def _refusal(message: func.QueueMessage, body: bytes, client: Any) -> str | None:
    """Why the message is poison; None if it is a fleet. Raises what may pass by the next delivery."""
    try:
        accepted = await submission.submit(
            client, strict_json.read(body), callers.QUEUE, message.id
        )
    except REFUSALS as refused:
        # The reason contains names of fields, which may be anything, in JSON pointers (~1 is a slash).
        reason = redacted(str(refused).replace("~1", "/").encode()).decode()
        told = (message.id, QUEUE, reason)
        extra = {"event": "request.refused"}
        telemetry.LOG.error("Message %s is refused and goes to %s-poison: %s", *told, extra=extra)
        return reason
    except OUTAGES as error:
        extra = {"event": "message.delayed"}
        telemetry.LOG.warning("Message %s will be retried: %s", message.id, error, extra=extra)
        raise
    except Exception as error:
        number = telemetry.unexpected(error)
        if (message.dequeue_count or 1) < TRIES:
            raise Unexpected(f"{type(error).__name__}: see the log") from None
        _log_failed(message)
        return f"Unexpected error. The app's log has it with the ID {number}."
    known = "" if accepted.created else " (it was there already)"
    extra = {"event": "message.taken", "fleet": accepted.id}
    telemetry.LOG.info("Message %s is %s%s", message.id, accepted.id, known, extra=extra)
    return None


def _log_failed(message: func.QueueMessage) -> None:
    failed = (message.id, message.dequeue_count, QUEUE)
    extra = {"event": "message.failed"}
    telemetry.LOG.error("Message %s failed %s times and goes to %s-poison", *failed, extra=extra)


def _decoded(content: bytes) -> tuple[bytes, bool]:
    """A message's body, and whether it was in Base64, else plain text.

    The host does not decode (`messageEncoding` none in host.json): what is not Base64 it would copy
    to the poison queue itself, with its secrets.
    """
    try:
        return base64.b64decode(b"".join(content.split()), validate=True), True
    except binascii.Error:
        return content, False


def _poison(message_id: str, reason: str, body: bytes, is_base64: bool) -> bytes:
    """The message for the poison queue: JSON with the reason, and what was sent, without its secrets.

    The storage service gives it an ID of its own, so it contains the one that sender and log know. What
    was sent is cut where the whole would not fit into a message.
    """
    text = redacted(body).decode(errors="backslashreplace")

    def poison(shown: str) -> bytes:
        parts = {"message_id": message_id, "reason": reason, "message": shown}
        content = json.dumps(parts).encode()
        return base64.b64encode(content) if is_base64 else content

    def size(characters: int) -> int:
        return len(poison(f"{text[:characters]}…"))

    if len(poison(text)) <= MESSAGE_BYTES:
        return poison(text)
    fitting = bisect_right(range(len(text)), MESSAGE_BYTES, key=size) - 1
    return poison(f"{text[:fitting]}…")
