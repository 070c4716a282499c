"""Queue output bindings: what a function sets on its `Out` parameters, sent once it has succeeded."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import azure.functions as func
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.functions import meta
from azure.storage.queue.aio import QueueClient

from local.functions.settings import SettingsError, storage_connection


class Out(func.Out[Any]):
    """What the parameter of an output binding gets."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value


class QueueOutputs:
    """Sends messages to the queues that output bindings name; `encoded` is messageEncoding base64."""

    def __init__(self, environment: Mapping[str, str], *, encoded: bool) -> None:
        self._environment, self._encoded = environment, encoded

    async def send(self, binding: Mapping[str, Any], value: Any) -> None:
        """Send what was set: a str, bytes or QueueMessage, or several. The queue is made when absent.

        Raises SettingsError when the binding's connection is not set, AzureError when the storage
        refuses, and NotImplementedError for another type: the function has then failed.
        """
        setting = str(binding.get("connection") or "AzureWebJobsStorage")
        connection = storage_connection(setting, self._environment)
        if connection is None:
            raise SettingsError(f"the connection {setting} of an output binding is not set")
        name = str(binding["queueName"]).lower()
        async with QueueClient.from_connection_string(connection, name, retry_total=1) as queue:
            for message in _messages(value):
                text = base64.b64encode(message).decode() if self._encoded else message.decode()
                await _send(queue, text)


async def _send(queue: Any, text: str) -> None:
    try:
        await queue.send_message(text)
    except ResourceNotFoundError:
        with contextlib.suppress(ResourceExistsError):  # somebody else was quicker
            await queue.create_queue()
        await queue.send_message(text)


def _messages(value: Any) -> Iterable[bytes]:
    """The bodies in a value, as the SDK's own converter understands it."""
    converters: Any = meta._ConverterMeta  # untyped
    several = isinstance(value, list | tuple)
    for one in value if several else [value]:
        if isinstance(one, func.QueueMessage):
            yield one.get_body()
            continue
        encoded = converters.get("queue").encode(one, expected_type=None).value
        yield encoded if isinstance(encoded, bytes) else str(encoded).encode()
