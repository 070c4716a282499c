# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest
from azure.storage.queue import (
    QueueClient,
    TextBase64DecodePolicy,
    TextBase64EncodePolicy,
)

from local.azurite import Azurite
from local.functions.host import FunctionsHost
from local.functions.indexing import index
from local.functions.settings import HostSettings

if TYPE_CHECKING:
    from tests.local.functions.conftest import Host

CACHE = Path(__file__).parents[3] / ".local" / "cache"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    azurite = Azurite(tmp_path_factory.mktemp("azurite"), CACHE)
    azurite.start()
    yield azurite.connection_string
    azurite.stop()


@pytest.fixture(scope="module")
def host(make_host: Any, storage: str) -> Iterator[Host]:
    with make_host("queues", Storage=storage, WORK_QUEUE="work") as running:
        yield running


def _queue(storage: str, name: str, **options: Any) -> QueueClient:
    return QueueClient.from_connection_string(storage, name, **options)


def _send(host: Host, storage: str, **order: Any) -> str:
    """Send an order to the queue `work`; returns the journal it will be noted in."""
    journal = uuid.uuid4().hex
    queue = _queue(storage, "work", message_encode_policy=TextBase64EncodePolicy())
    _wait_for(host, queue)
    queue.send_message(json.dumps({"journal": journal, **order}))
    return journal


def _wait_for(host: Host, queue: QueueClient) -> None:
    """Until the host has created the queue."""

    def exists() -> bool:
        try:
            queue.get_queue_properties()
        except Exception:
            return False
        return True

    host.until(exists, bool)


def _entries(host: Host, journal: str) -> list[Any]:
    path = host.journals / journal
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _left(storage: str, name: str) -> int:
    return _queue(storage, name).get_queue_properties().approximate_message_count or 0


def test_a_message_reaches_the_function_once(host: Host, storage: str) -> None:
    journal = _send(host, storage)

    host.until(lambda: _left(storage, "work"), lambda count: count == 0)
    assert [entry[1:] for entry in _entries(host, journal)] == [[1, True]]


def test_a_failed_message_comes_again(host: Host, storage: str) -> None:
    journal = _send(host, storage, fails=1)

    entries = host.until(lambda: _entries(host, journal), lambda seen: len(seen) == 2)
    assert [entry[1] for entry in entries] == [1, 2]


def test_after_too_many_failures_it_is_poison(host: Host, storage: str) -> None:
    poison = _queue(storage, "work-poison")
    journal = _send(host, storage, fails=9)

    def found() -> bool:
        try:
            return any(m.content for m in poison.peek_messages(32))
        except Exception:
            return False

    host.until(found, bool)
    assert [entry[1] for entry in _entries(host, journal)] == [1, 2]


def test_text_that_is_not_base64_is_poison_at_once(host: Host, storage: str) -> None:
    queue = _queue(storage, "texts")
    _wait_for(host, queue)
    queue.send_message("not base64!")

    poison = _queue(storage, "texts-poison")
    _wait_for(host, poison)
    message = host.until(lambda: poison.receive_message(), lambda m: m is not None)
    assert message.content == "not base64!"


def test_a_str_parameter_gets_the_text(host: Host, storage: str) -> None:
    queue = _queue(storage, "texts", message_encode_policy=TextBase64EncodePolicy())
    _wait_for(host, queue)
    queue.send_message("héllo")

    assert host.until(lambda: host.journal("texts"), bool) == ["héllo"]


def test_messages_run_side_by_side_up_to_the_batch_size(host: Host, storage: str) -> None:
    journals = [_send(host, storage, seconds=0.4) for _ in range(4)]

    host.until(lambda: all(_entries(host, j) for j in journals), bool, timeout=1.5)


def test_what_a_function_puts_out_is_sent(host: Host, storage: str) -> None:
    letters = _queue(storage, "letters", message_encode_policy=TextBase64EncodePolicy())
    _wait_for(host, letters)
    letters.send_message("letter")
    copies = _queue(storage, "copies", message_decode_policy=TextBase64DecodePolicy())
    _wait_for(host, copies)

    seen = host.until(
        lambda: [m.content for m in copies.peek_messages(9)], lambda all_: len(all_) > 1
    )
    assert seen == ["first letter", "second letter"]


def test_a_lease_is_renewed_while_its_function_runs(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.functions.queues._LEASE", 1)
    monkeypatch.setattr("local.functions.queues._RENEW_AFTER", 0.3)
    monkeypatch.setenv("Storage", storage)
    calls: list[int | None] = []
    app: Any = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name="long", connection="Storage")
    async def take(msg: func.QueueMessage) -> None:
        calls.append(msg.dequeue_count)
        await asyncio.sleep(2.5)

    async def scenario() -> int:
        host = FunctionsHost(index(app, {}), HostSettings(), tmp_path, host_root=tmp_path)
        queue = _queue(storage, "long", message_encode_policy=TextBase64EncodePolicy())
        queue.create_queue()
        queue.send_message("work")
        await host.start()
        async with asyncio.timeout(8):
            while left := _left(storage, "long"):  # noqa: ASYNC110 (nothing tells of a deletion)
                await asyncio.sleep(0.1)
        await host.stop()
        return left

    assert (asyncio.run(scenario()), calls) == (0, [1])
