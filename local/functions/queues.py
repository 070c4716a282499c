"""Queue triggers, on Azure Storage queues or an emulator.

The handling of messages follows the extension's sources (Storage.Queues 5.3: QueueListener,
QueueProcessor, QueueServiceClientProvider).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import re
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.functions.queue import QueueMessage

from local.functions.indexing import Function
from local.functions.invoke import Invoker
from local.functions.settings import QueueSettings, SettingsError
from local.functions.storage import Storage, connection_of, send

_log = logging.getLogger(__name__)

_FIRST_POLL = 0.1  # seconds between polls after work; doubles up to maxPollingInterval
_RETRY_DELAY = 2.0  # seconds between attempts while the storage is unreachable
_POISON_SUFFIX = "-poison"


class QueueListener:
    """Calls `function` for each message of its queue, concurrently as `settings` allow.

    Raises SettingsError for a missing or invalid connection.
    """

    def __init__(
        self, function: Function, storage: Storage, settings: QueueSettings, invoker: Invoker
    ) -> None:
        self._function, self._settings, self._invoker = function, settings, invoker
        self._name = str(function.trigger["queueName"]).lower()
        self._visibility = math.ceil(settings.message_visibility)
        # Bodies are decoded here, not by the client, since an undecodable one is poison.
        connection = connection_of(function.trigger)
        try:
            self._queue, self._poison = (
                storage.queue(connection, name, retry_total=0)
                for name in (self._name, self._name + _POISON_SUFFIX)
            )
        except SettingsError as error:
            raise SettingsError(f"function '{function.name}': {error}") from None
        self._poller: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._receiving = asyncio.Lock()

    def start(self) -> None:
        """Start polling. The queue may not exist yet; it is not created here."""
        self._poller = asyncio.create_task(self._poll())

    async def stop(self, grace: float) -> None:
        """Stop polling, and give running functions `grace` seconds. Messages of cancelled functions
        become visible immediately."""
        if self._poller is not None:
            async with self._receiving:  # messages being received would stay hidden
                self._poller.cancel()
            await asyncio.wait({self._poller})
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(self._queue.close(), self._poison.close())

    async def _poll(self) -> None:
        delay, reachable, found = _FIRST_POLL, True, True
        while True:
            try:
                taken = await self._take()
                if not (reachable and found):
                    _log.info("Queue '%s' is available", self._name)
                reachable = found = True
            except ResourceNotFoundError:
                if found:
                    _log.warning("Queue '%s' does not exist: waiting for its creation", self._name)
                taken = found = False
            except Exception as error:  # retry after any error
                if reachable:
                    _log.warning("Queue '%s' is unavailable: %s", self._name, _first_line(error))
                reachable = False
                await asyncio.sleep(_RETRY_DELAY)
                continue
            if not taken:
                await asyncio.sleep(delay)
            longest = max(_FIRST_POLL, self._settings.max_polling_interval)
            delay = _FIRST_POLL if taken else min(delay * 2, longest)

    async def _take(self) -> bool:
        """Receive one batch and start its functions. Returns whether there were messages."""
        while len(self._running) > self._settings.new_batch_threshold:
            self._room.clear()
            await self._room.wait()
        batch = self._settings.batch_size
        async with self._receiving:
            messages = [
                message
                async for message in self._queue.receive_messages(
                    messages_per_page=batch, max_messages=batch, visibility_timeout=self._visibility
                )
            ]
            for message in messages:
                task = asyncio.create_task(self._handle(message))
                self._running.add(task)
                task.add_done_callback(self._on_done)
        return bool(messages)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The message comes back after its visibility timeout; nothing is lost.
            _log.error(
                "Queue '%s': a message could not be completed: %s", self._name, _first_line(error)
            )

    async def _handle(self, message: Any) -> None:
        lease = _Lease(self._queue, message, self._visibility)
        try:
            body = self._body(message)
        except ValueError as error:
            _log.error("Message %s of '%s' is poison: %s", message.id, self._name, error)
            await self._move_to_poison(lease, message.content)
            return
        most = self._settings.max_dequeue_count
        failed = True
        if message.dequeue_count <= most:  # more after crashes: do not run the function again
            try:
                async with lease:
                    failed = not await self._call(message, body)
            except asyncio.CancelledError:
                await lease.release(0)
                raise
        if not failed:
            await lease.delete()
        elif message.dequeue_count >= most:
            _log.error(
                "Message %s of '%s' has reached MaxDequeueCount of %d and goes to '%s%s'",
                message.id, self._name, most, self._name, _POISON_SUFFIX,
            )  # fmt: skip
            await self._move_to_poison(lease, self._encoded(body))
        else:
            await lease.release(self._settings.visibility_timeout)

    async def _call(self, message: Any, body: bytes) -> bool:
        try:
            await self._invoker.call(self._function, self._argument(message, body))
        except Exception as error:
            _log.error(
                "Function '%s' failed on message %s (attempt %d)",
                self._function.name, message.id, message.dequeue_count, exc_info=error,
            )  # fmt: skip
            return False
        return True

    def _body(self, message: Any) -> bytes:
        """The message's bytes. Raises ValueError if they do not match messageEncoding."""
        text = str(message.content)
        if not self._settings.base64:
            return text.encode()
        try:  # .NET ignores this white space anywhere
            return base64.b64decode(re.sub("[ \\t\\r\\n]", "", text), validate=True)
        except ValueError as error:
            raise ValueError(
                "its text is not Base64; senders must encode it, or host.json must set "
                "queues.messageEncoding to 'none'"
            ) from error

    def _encoded(self, body: bytes) -> str:
        return base64.b64encode(body).decode() if self._settings.base64 else body.decode()

    def _argument(self, message: Any, body: bytes) -> Any:
        """The function's argument. Raises UnicodeDecodeError for a body that is not UTF-8, unless the
        binding's dataType is binary."""
        if str(self._function.trigger.get("dataType")).upper() != "BINARY":
            body.decode()
        if self._function.argument_type is str:
            return body.decode()
        if self._function.argument_type is bytes:
            return body
        make: Any = QueueMessage  # untyped
        return make(
            id=message.id,
            body=body,
            dequeue_count=message.dequeue_count,
            expiration_time=message.expires_on,
            insertion_time=message.inserted_on,
            time_next_visible=message.next_visible_on,
            pop_receipt=message.pop_receipt,
        )

    async def _move_to_poison(self, lease: _Lease, text: str) -> None:
        await send(self._poison, text)
        await lease.delete()


class _Lease:
    """A received message. Stays hidden while the `async with` block runs."""

    def __init__(self, queue: Any, message: Any, seconds: int) -> None:
        self._queue, self._message, self._seconds = queue, message, seconds
        self._renewal: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._renewal = asyncio.create_task(self._renew())

    async def __aexit__(self, *_: object) -> None:
        assert self._renewal is not None, "set on entering"
        self._renewal.cancel()
        await asyncio.wait({self._renewal})

    async def delete(self) -> None:
        await self._queue.delete_message(self._message)

    async def release(self, after: float) -> None:
        """Make the message visible again in `after` seconds."""
        await self._queue.update_message(self._message, visibility_timeout=math.ceil(after))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 2)
            try:
                # Each update returns a new pop receipt and invalidates the old one.
                renewed = await self._queue.update_message(
                    self._message, visibility_timeout=self._seconds
                )
                self._message.pop_receipt = renewed.pop_receipt
            except AzureError as error:
                _log.warning("Cannot renew a message's visibility timeout: %s", _first_line(error))


def _first_line(error: BaseException) -> str:
    """The first line of an error; the rest of a storage error is headers and XML."""
    return str(error).partition("\n")[0] or type(error).__name__
