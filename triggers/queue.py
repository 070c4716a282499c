"""The storage queue: each message is a fleet request, as over HTTP."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
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
from triggers import submission, submitters
from triggers.durable_client import TaskHubUnavailable

bp = df.Blueprint()

# Not as %FLEET_QUEUE% in the binding, which cannot have a default.
QUEUE = os.environ.get("FLEET_QUEUE") or "powerlift-fleets"


def connection_of(environment: Mapping[str, str]) -> str:
    """The bindings' `connection`. The host reads the setting of this name, or the group NAME__*."""
    own = "FLEET_QUEUE_CONNECTION"
    is_set = any(name.partition("__")[0] == own for name, value in environment.items() if value)
    return own if is_set else "AzureWebJobsStorage"


CONNECTION = connection_of(os.environ)

REJECTIONS = (InvalidRequest, AlreadyUsed)
"""Permanent errors: the message goes to the poison queue."""

OUTAGES = (
    TaskHubUnavailable, DatabaseUnreachable, LeaseHeld, SchemaTooNew, SettingsError, SealBroken,
    TooManyVms,
)  # fmt: skip
"""Transient errors, for minutes or hours: the message is retried until it expires."""

MAX_TRIES = 5
"""Deliveries after which a message with an unexpected error goes to the poison queue."""

MESSAGE_BYTES = 65_536
"""The maximum size of a message's text."""


def _last_delivery() -> int:
    """The delivery at which the app moves a message to the poison queue, with its secrets redacted.

    After `maxDequeueCount` deliveries, the host would move it unchanged. host.json sets a million, more
    than a message gets before it expires after seven days, because the host cannot distinguish an outage
    from a bad message. The result is one less, so that the app is first.
    """
    host = json.loads((Path(__file__).parent.parent / "host.json").read_text())
    limit = host["extensions"]["queues"]["maxDequeueCount"]
    overriding = "azurefunctionsjobhost__extensions__queues__maxdequeuecount"
    limits = [value for name, value in os.environ.items() if name.lower() == overriding]
    return int(limits[0] if limits else limit) - 1


LAST_DELIVERY = _last_delivery()


class Unexpected(RuntimeError):
    """An unexpected error, without its text, which may contain a secret."""


@bp.queue_trigger(arg_name="message", queue_name=QUEUE, connection=CONNECTION)
@bp.queue_output(arg_name="poison", queue_name=f"{QUEUE}-poison", connection=CONNECTION)
@bp.durable_client_input(client_name="client")
async def submit_fleet_from_queue(
    message: func.QueueMessage, poison: func.Out[bytes], client: Any
) -> None:
    """Submit the fleet of a message. Repeated deliveries start one fleet: without a batch_id, the
    message's ID is the idempotency key.

    An invalid message goes to the poison queue immediately, with its secrets redacted. After an
    exception, the host hides the message for `visibilityTimeout` and delivers it again.
    """
    content = message.get_body()
    body, is_base64 = _decoded(content)
    if (message.dequeue_count or 1) >= LAST_DELIVERY:
        _log_failed(message)
    elif await _is_accepted(message, body, client):
        return
    copy = _redacted_copy(content, body, is_base64)
    poison.set(copy)
    # The copy gets an ID of its own, which the app does not learn.
    named = (message.id, QUEUE, hashlib.sha256(copy).hexdigest())
    extra = {"event": "message.copied"}
    telemetry.LOG.error("The SHA-256 of message %s in %s-poison is %s", *named, extra=extra)


async def _is_accepted(message: func.QueueMessage, body: bytes, client: Any) -> bool:
    """Whether the message was accepted; False if it is poison. Raises what a retry may resolve."""
    try:
        accepted = await submission.submit(
            client, strict_json.read(body), submitters.QUEUE, message.id
        )
    except REJECTIONS as rejected:
        # The reason contains field names, which are untrusted, in JSON pointers (~1 is a slash).
        reason = redacted(str(rejected).replace("~1", "/").encode()).decode()
        rejection = (message.id, QUEUE, reason)
        extra = {"event": "request.refused"}
        telemetry.LOG.error(
            "Message %s was rejected and moved to %s-poison: %s", *rejection, extra=extra
        )
        return False
    except OUTAGES as error:
        extra = {"event": "message.delayed"}
        telemetry.LOG.warning("Message %s will be retried: %s", message.id, error, extra=extra)
        raise
    except Exception as error:
        telemetry.unexpected(error)
        if (message.dequeue_count or 1) < MAX_TRIES:
            raise Unexpected(f"{type(error).__name__}: see the log") from None
        _log_failed(message)
        return False
    existed = "" if accepted.created else ", which already existed"
    extra = {"event": "message.accepted", "fleet": accepted.id}
    telemetry.LOG.info("Message %s submitted %s%s", message.id, accepted.id, existed, extra=extra)
    return True


def _log_failed(message: func.QueueMessage) -> None:
    failed = (message.id, message.dequeue_count, QUEUE)
    extra = {"event": "message.failed"}
    telemetry.LOG.error(
        "Message %s failed %s times and was moved to %s-poison", *failed, extra=extra
    )


def _decoded(content: bytes) -> tuple[bytes, bool]:
    """A message's body, and whether it was Base64 rather than plain text.

    The host does not decode messages (`messageEncoding` none in host.json), because it would move one
    that is not Base64 to the poison queue itself, with its secrets.
    """
    try:
        return base64.b64decode(b"".join(content.split()), validate=True), True
    except binascii.Error:
        return content, False


def _redacted_copy(content: bytes, body: bytes, is_base64: bool) -> bytes:
    """The message for the poison queue: unchanged except for its secrets.

    `***` may be longer than a secret; a copy that exceeds the maximum size is truncated.
    """
    shown = redacted(body)
    if shown == body:
        return content
    if is_base64:
        return base64.b64encode(shown[: MESSAGE_BYTES // 4 * 3])
    return shown[:MESSAGE_BYTES].decode(errors="ignore").encode()
