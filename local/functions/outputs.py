"""Queue output bindings: what a function sets on its `Out` parameters, sent once it has succeeded.

Text that looks like JSON is not sent as it is: the real host reads it with Newtonsoft.Json and sends
what that writes (azure-functions-host, FunctionBinding.ReadAsEnumerable).
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
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
        refuses, ValueError for text in braces or brackets that is not JSON, and NotImplementedError
        for another type: the function has then failed.
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
    """The bodies in a value, as the SDK's own converter and the host understand it: bytes and text as
    they are, JSON rewritten, each item of a list or of a JSON array as a message of its own."""
    converters: Any = meta._ConverterMeta  # untyped
    datum = converters.get("queue").encode(value, expected_type=None)
    if datum.type == "bytes":
        return [datum.value]
    text = datum.value.strip()
    if text[:1] + text[-1:] not in ("{}", "[]"):
        return [datum.value.encode()]
    token = json.loads(text, parse_constant=str)  # NaN becomes "NaN"
    texts = map(_written, token if isinstance(token, list) else [token])
    return [re.sub("[\ud800-\udfff]", "\ufffd", text).encode() for text in texts]


def _written(token: Any) -> str:
    """The text of a message that is JSON. (Newtonsoft also changes dates and the form of some
    numbers, and reads comments, single quotes and more that is not JSON.)"""
    if isinstance(token, dict | list):
        return json.dumps(token, ensure_ascii=False, indent=2)
    return "" if token is None else str(token)
