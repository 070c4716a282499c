"""A minimal client of the app: submits by HTTP or queue, and reads a fleet's status."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from local.queues import QUEUE

_TIMEOUT = 30.0  # seconds per request

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: no proxy


class ApiError(RuntimeError):
    """The app rejected the request or did not respond. `status` is the HTTP status or None."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


def post(url: str, key: str, request: Mapping[str, Any]) -> str:
    """POST a fleet. Returns its id. Raises ApiError with the app's message if it is rejected."""
    return str(_call(f"{url}/api/fleets", key, request)["id"])


def enqueue(connection_string: str, request: Mapping[str, Any]) -> str:
    """Submit a fleet by queue message. `request` must have a batch_id. Returns the fleet's id.

    Raises ApiError if the queue does not exist.
    """
    with QueueClient.from_connection_string(
        connection_string, QUEUE, message_encode_policy=TextBase64EncodePolicy()
    ) as queue:
        try:
            queue.send_message(json.dumps(request))
        except ResourceNotFoundError:
            raise ApiError(
                f"queue {QUEUE} does not exist; create it with `python -m local.queues`", 404
            ) from None
    return f"fleet-{request['batch_id']}"


def status(url: str, key: str, fleet_id: str) -> dict[str, Any] | None:
    """The fleet's status, or None if the app does not know the fleet. Raises ApiError."""
    try:
        return _call(f"{url}/api/fleets/{fleet_id}", key)
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _call(url: str, key: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310  (our own http://127.0.0.1 address)
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"x-functions-key": key, "Content-Type": "application/json"},
    )
    try:
        with _direct.open(request, timeout=_TIMEOUT) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as error:
        text = error.read(4096).decode(errors="replace")
        raise ApiError(f"{url} returned {error.code}: {text}", error.code) from None
    except OSError as error:
        raise ApiError(f"{url} does not respond: {error}", None) from None
