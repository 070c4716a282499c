"""Queue triggers, on Azure Storage queues or whatever speaks their protocol."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import math
from typing import Any

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.functions.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from local.functions.indexing import Function
from local.functions.invoke import Invoker
from local.functions.settings import QueueSettings, SettingsError

_log = logging.getLogger(__name__)

_FIRST_POLL = 0.1  # seconds between polls after work; doubles up to maxPollingInterval
# A received message stays hidden for this many seconds, and while its function runs the time is
# renewed. The real host takes ten minutes; with less, a killed host's message is back soon.
_LEASE = 30
_RENEW_AFTER = 10.0
_UNREACHABLE = 2.0  # seconds between attempts while the storage does not answer
_POISON_SUFFIX = "-poison"


class QueueListener:
    """Calls `function` for each message of its queue, several at a time as `settings` say.

    Raises SettingsError for a connection string that cannot be read.
    """

    def __init__(
        self,
        function: Function,
        connection: str,
        settings: QueueSettings,
        invoker: Invoker,
    ) -> None:
        self._function, self._settings, self._invoker = function, settings, invoker
        self._name = str(function.trigger["queueName"]).lower()
        # Bodies are decoded here, not by the client: one that cannot be decoded is poison.
        try:
            self._queue, self._poison = (
                QueueClient.from_connection_string(connection, name, retry_total=0)
                for name in (self._name, self._name + _POISON_SUFFIX)
            )
        except ValueError as error:
            setting = function.trigger.get("connection")
            raise SettingsError(
                f"function '{function.name}': the value of {setting} is no connection string"
            ) from error
        self._poller: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()

    def start(self) -> None:
        """Begin to poll; the queue is created when it is absent."""
        self._poller = asyncio.create_task(self._poll())

    async def stop(self, grace: float) -> None:
        """Stop polling, and give running functions `grace` seconds. Messages of those cut off come
        back when their lease is over."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait({self._poller})
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(self._queue.close(), self._poison.close())

    async def _poll(self) -> None:
        delay, reachable = _FIRST_POLL, True
        while True:
            try:
                taken = await self._take()
                if not reachable:
                    _log.info("Queue '%s' answers again", self._name)
                reachable = True
            except ResourceNotFoundError:
                await self._create(self._queue)
                continue
            except Exception as error:  # whatever it is, the queue is tried again
                if reachable:
                    _log.warning("Queue '%s' does not answer: %s", self._name, _brief(error))
                reachable = False
                await asyncio.sleep(_UNREACHABLE)
                continue
            if not taken:
                await asyncio.sleep(delay)
            longest = max(_FIRST_POLL, self._settings.max_polling_interval)
            delay = _FIRST_POLL if taken else min(delay * 2, longest)

    async def _take(self) -> bool:
        """Receive one batch and start its functions. Whether there was anything."""
        while len(self._running) > self._settings.new_batch_threshold:
            self._room.clear()
            await self._room.wait()
        batch = self._settings.batch_size
        messages = [
            message
            async for message in self._queue.receive_messages(
                messages_per_page=batch, max_messages=batch, visibility_timeout=_LEASE
            )
        ]
        for message in messages:
            task = asyncio.create_task(self._handle(message))
            self._running.add(task)
            task.add_done_callback(self._leave)
        return bool(messages)

    def _leave(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The message comes back after its lease; nothing is lost.
            _log.error("Queue '%s': a message could not be settled: %s", self._name, _brief(error))

    async def _handle(self, message: Any) -> None:
        lease = _Lease(self._queue, message)
        try:
            body = self._body(message)
        except ValueError as error:
            _log.error("Message %s of '%s' is poison: %s", message.id, self._name, error)
            await self._to_poison(lease)
            return
        async with lease:
            failed = not await self._call(message, body)
        if not failed:
            await lease.delete()
        elif message.dequeue_count >= self._settings.max_dequeue_count:
            _log.error(
                "Message %s of '%s' failed %d times and goes to '%s%s'",
                message.id, self._name, message.dequeue_count, self._name, _POISON_SUFFIX,
            )  # fmt: skip
            await self._to_poison(lease)
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
        """The message's bytes. Raises ValueError when they are not what messageEncoding says."""
        text = str(message.content)
        if not self._settings.base64:
            return text.encode()
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(
                "its text is not Base64; senders must encode it, or host.json must set "
                "queues.messageEncoding to 'none'"
            ) from error

    def _argument(self, message: Any, body: bytes) -> Any:
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

    async def _to_poison(self, lease: _Lease) -> None:
        try:
            await self._poison.send_message(lease.content)
        except ResourceNotFoundError:
            await self._create(self._poison)
            await self._poison.send_message(lease.content)
        await lease.delete()

    async def _create(self, queue: Any) -> None:
        try:
            await queue.create_queue()
        except ResourceExistsError:
            pass
        except AzureError as error:
            _log.warning("Queue '%s' cannot be created: %s", self._name, _brief(error))
            await asyncio.sleep(_UNREACHABLE)


class _Lease:
    """A received message: hidden from others while the block of `async with` runs."""

    def __init__(self, queue: Any, message: Any) -> None:
        self._queue, self._message = queue, message
        self._renewal: asyncio.Task[None] | None = None

    @property
    def content(self) -> str:
        return str(self._message.content)

    async def __aenter__(self) -> None:
        self._renewal = asyncio.create_task(self._renew())

    async def __aexit__(self, *_: object) -> None:
        assert self._renewal is not None, "set on entering"
        self._renewal.cancel()
        await asyncio.wait({self._renewal})

    async def delete(self) -> None:
        await self._queue.delete_message(self._message)

    async def release(self, after: float) -> None:
        """Let the message be received again `after` seconds from now."""
        await self._queue.update_message(self._message, visibility_timeout=math.ceil(after))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_AFTER)
            try:
                # Each update gives a new pop receipt, and the old one is refused from then on.
                renewed = await self._queue.update_message(self._message, visibility_timeout=_LEASE)
                self._message.pop_receipt = renewed.pop_receipt
            except AzureError as error:
                _log.warning("A lease could not be renewed: %s", _brief(error))


def _brief(error: BaseException) -> str:
    """The first line of an error; the rest of a storage error is headers and XML."""
    return str(error).partition("\n")[0] or type(error).__name__
