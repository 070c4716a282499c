"""A fleet asked for by a message on a storage queue, for code that can reach that and not the app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerlift_fleet.api import wire
from powerlift_fleet.api.errors import (
    ConfigurationError,
    FleetUnreachable,
    NotFound,
    RequestRefused,
    Unauthorized,
    Unsettled,
)
from powerlift_fleet.api.flows import new_batch_id

QUEUE = "powerlift-fleets"
"""The app's queue, unless its setting FLEET_QUEUE names another."""

LONGEST = 48 * 1024
"""Bytes of a message: 64 KiB, of which base64 takes a quarter."""


class NoQueue(NotFound):
    """The storage account has no such queue: the Functions host does not make it."""

    advice = "Name the app's queue (its setting FLEET_QUEUE), or make it: az storage queue create."


def submit_by_queue(
    connection_string: str, request: Mapping[str, Any], queue: str = QUEUE
) -> dict[str, Any]:
    """Put a request on the app's queue. Returns {id, batch_id} of the fleet that it will be.

    A request without `batch_id` gets one, so that its status can be asked for. What the app finds
    wrong with it is in the app's log and on the queue `<queue>-poison`, not here.

    Needs azure-storage-queue (the extra `queue`). Raises ConfigurationError, RequestRefused (too
    long), Unauthorized, NotFound (no such queue), FleetUnreachable.
    """
    batch_id = request.get("batch_id")
    document = {**request, "batch_id": new_batch_id() if batch_id is None else batch_id}
    text = wire.as_json(document)
    if len(text.encode()) > LONGEST:
        detail = f"A queue message may have {LONGEST} bytes. Submit it over HTTP."
        raise RequestRefused(400, "The request is too long for a queue", detail)
    try:
        _send(connection_string, queue, text)
    except Unsettled as error:
        error.batch_id = document["batch_id"]
        raise
    return {"id": wire.fleet_id(document["batch_id"]), "batch_id": document["batch_id"]}


def _send(connection_string: str, queue: str, text: str) -> None:
    try:
        from azure.core import exceptions as azure
        from azure.storage.queue import QueueClient, TextBase64EncodePolicy
    except ImportError:
        raise ConfigurationError(
            "A queue needs one more package: pip install 'powerlift-fleet[queue]'."
        ) from None
    try:
        client = QueueClient.from_connection_string(
            connection_string, queue, message_encode_policy=TextBase64EncodePolicy()
        )
    except ValueError:  # its text may hold the account's key
        raise ConfigurationError(
            "This is no connection string of a storage account. The portal shows it under Access keys."
        ) from None
    try:
        with client:
            client.send_message(text)
    except azure.ResourceNotFoundError:
        raise NoQueue(
            404, "There is no such queue", f"The storage account has no {queue!r}."
        ) from None
    except azure.HttpResponseError as error:
        # A key that is none fails before anything is sent, and then there is no status.
        if not isinstance(error, azure.ClientAuthenticationError) and error.status_code != 403:
            raise FleetUnreachable(_silence(f"it answered {error.status_code}")) from None
        detail = "Check the account's key, and its network rules."
        code = error.status_code or 401
        raise Unauthorized(code, "The storage account does not let us in", detail) from None
    except azure.AzureError as error:
        raise FleetUnreachable(_silence(type(error).__name__)) from None


def _silence(why: str) -> str:
    return f"The storage queue did not take the message: {why}. It was tried several times."
