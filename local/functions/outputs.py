"""Queue output bindings: send what a function has set on its `Out` parameters, once it succeeds.

Text that looks like JSON is reformatted: the real host parses and serializes it with Newtonsoft.Json
(azure-functions-host, FunctionBinding.ReadAsEnumerable).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import azure.functions as func
from azure.functions import meta

from local.functions.storage import Storage, connection_of, send


class Out(func.Out[Any]):
    """The value of an output binding's parameter."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, val: Any) -> None:
        self._value = val

    def get(self) -> Any:
        return self._value


class QueueOutputs:
    """Sends messages to the queues of output bindings; `encoded` means messageEncoding base64."""

    def __init__(self, storage: Storage, *, encoded: bool) -> None:
        self._storage, self._encoded = storage, encoded

    async def send(self, binding: Mapping[str, Any], value: Any) -> None:
        """Send a str, bytes or QueueMessage, or a list of them. Creates the queue if necessary.

        An exception fails the function: SettingsError if the binding's connection is not set,
        AzureError from the storage, ValueError for text in braces or brackets that is not JSON, and
        NotImplementedError for other types.
        """
        name = str(binding["queueName"]).lower()
        async with self._storage.queue(connection_of(binding), name, retry_total=1) as queue:
            for message in _messages(value):
                text = base64.b64encode(message).decode() if self._encoded else message.decode()
                await send(queue, text)


def _messages(value: Any) -> Iterable[bytes]:
    """The message bodies in a value, as the SDK's converter and the host interpret it: bytes and text
    unchanged, JSON reformatted, and each item of a list or JSON array as a separate message."""
    converters: Any = meta._ConverterMeta  # untyped
    datum = converters.get("queue").encode(value, expected_type=None)
    if datum.type == "bytes":
        return [datum.value]
    text = datum.value.strip()
    if text[:1] + text[-1:] not in ("{}", "[]"):
        return [datum.value.encode()]
    token = json.loads(text, parse_constant=str)  # NaN becomes "NaN"
    texts = map(_serialized, token if isinstance(token, list) else [token])
    return [re.sub("[\ud800-\udfff]", "\ufffd", text).encode() for text in texts]


def _serialized(token: Any) -> str:
    """The message for a JSON value. (Newtonsoft also changes the format of dates and some numbers, and
    accepts comments, single quotes and other extensions.)"""
    if isinstance(token, dict | list):
        return json.dumps(token, ensure_ascii=False, indent=2)
    return "" if token is None else str(token)
