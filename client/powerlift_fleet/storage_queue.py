"""Submits a fleet through the app's storage queue, for code that cannot reach the app over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerlift_fleet.api import wire
from powerlift_fleet.api.errors import (
    ConfigurationError,
    FleetUnreachable,
    NotFound,
    OutcomeUnknown,
    RequestRefused,
    Unauthorized,
)
from powerlift_fleet.api.flows import new_batch_id
from powerlift_fleet.api.responses import QueuedSubmission

DEFAULT_QUEUE = "powerlift-fleets"

MAX_MESSAGE_BYTES = 48 * 1024
"""64 KiB after base64."""


class QueueNotFound(NotFound):
    advice = (
        "Pass the app's queue (its setting FLEET_QUEUE), or create it: az storage queue create."
    )


def submit_by_queue(
    connection_string: str, request: Mapping[str, Any], queue: str = DEFAULT_QUEUE
) -> QueuedSubmission:
    """Put a request on the app's queue.

    A request without `batch_id` gets one. If the app refuses the request, the reason is in the app's log
    and the message on the queue `<queue>-poison`.

    Needs azure-storage-queue (the extra `queue`). Raises ConfigurationError, RequestRefused (too long),
    Unauthorized, NotFound (no such queue), FleetUnreachable.
    """
    batch_id = request.get("batch_id")
    if batch_id is None:
        batch_id = new_batch_id()
    text = wire.to_json({**request, "batch_id": batch_id})
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        detail = f"A queue message has at most {MAX_MESSAGE_BYTES} bytes. Submit it over HTTP."
        raise RequestRefused(400, "The request is too long for a queue message", detail)
    try:
        _send(connection_string, queue, text)
    except OutcomeUnknown as error:
        error.batch_id = batch_id
        raise
    fleet = f"fleet-{batch_id}"
    return QueuedSubmission(raw={"id": fleet, "batch_id": batch_id}, id=fleet, batch_id=batch_id)


def _send(connection_string: str, queue: str, text: str) -> None:
    try:
        from azure.core import exceptions as azure
        from azure.storage.queue import QueueClient, TextBase64EncodePolicy
    except ImportError:
        raise ConfigurationError(
            "Queue submission needs another package: pip install 'powerlift-fleet[queue]'."
        ) from None
    try:
        client = QueueClient.from_connection_string(
            connection_string, queue, message_encode_policy=TextBase64EncodePolicy()
        )
    except ValueError:  # its text may contain the account's key
        raise ConfigurationError(
            "Invalid connection string. Copy it from the storage account's Access keys in the portal."
        ) from None
    try:
        with client:
            client.send_message(text)
    except azure.ResourceNotFoundError:
        detail = f"The storage account has no queue {queue!r}."
        raise QueueNotFound(404, "Queue not found", detail) from None
    except azure.HttpResponseError as error:
        # A malformed key fails before anything is sent, and then there is no status.
        if not isinstance(error, azure.ClientAuthenticationError) and error.status_code != 403:
            raise _unreachable(f"it answered {error.status_code}") from None
        detail = "Check the account's key and its network rules."
        code = error.status_code or 401
        raise Unauthorized(code, "The storage account denied access", detail) from None
    except azure.AzureError as error:
        raise _unreachable(type(error).__name__) from None


def _unreachable(reason: str) -> FleetUnreachable:
    return FleetUnreachable(f"The storage queue did not accept the message: {reason}.")
