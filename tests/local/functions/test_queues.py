# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from local.azurite import Azurite
from local.functions.host import FunctionsHost
from local.functions.indexing import index
from local.functions.settings import HostSettings, QueueSettings

if TYPE_CHECKING:
    from tests.local.functions.conftest import Host

QUEUES = ("work", "texts", "letters", "anything", "binaries", "texts-to-copy")
"""The queues that the app reads. The host does not create them."""
CACHE = Path(__file__).parents[3] / ".local" / "cache"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    azurite = Azurite(tmp_path_factory.mktemp("azurite"), CACHE)
    azurite.start()
    for name in QUEUES:
        _queue(azurite.connection_string, name).create_queue()
    yield azurite.connection_string
    azurite.stop()


@pytest.fixture(scope="module")
def host(make_host: Any, storage: str) -> Iterator[Host]:
    with make_host("queues", Storage=storage, WORK_QUEUE="work") as running:
        yield running


def _queue(storage: str, name: str, **options: Any) -> QueueClient:
    return QueueClient.from_connection_string(storage, name, **options)


def _send(storage: str, **order: Any) -> str:
    """Send a message to the queue `work`. Returns the journal that the function writes to."""
    journal = uuid.uuid4().hex
    _put(storage, "work", json.dumps({"journal": journal, **order}).encode())
    return journal


def _put(storage: str, name: str, body: bytes) -> str:
    """Send a message in Base64. Returns its id."""
    return str(_queue(storage, name).send_message(base64.b64encode(body).decode()).id)


def _found(host: Host, storage: str, name: str, mark: bytes = b"") -> list[bytes]:
    """The messages with `mark` on a queue that the host creates. Waits for the first."""

    def look() -> list[bytes]:
        try:
            messages = _queue(storage, name).peek_messages(32)
        except ResourceNotFoundError:
            return []
        return [body for m in messages if mark in (body := base64.b64decode(m.content))]

    return list(host.until(look, bool))


def _entries(host: Host, journal: str) -> list[Any]:
    path = host.journals / journal
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _left(storage: str, name: str) -> int:
    return _queue(storage, name).get_queue_properties().approximate_message_count or 0


def test_a_message_reaches_the_function_once(host: Host, storage: str) -> None:
    journal = _send(storage)

    host.until(lambda: _left(storage, "work"), lambda count: count == 0)
    assert [entry[1:] for entry in _entries(host, journal)] == [[1, True]]


def test_a_failed_message_is_retried(host: Host, storage: str) -> None:
    journal = _send(storage, fails=1)

    entries = host.until(lambda: _entries(host, journal), lambda seen: len(seen) == 2)
    assert [entry[1] for entry in entries] == [1, 2]


def test_a_message_is_poison_after_too_many_failures(host: Host, storage: str) -> None:
    journal = _send(storage, fails=9)

    assert len(_found(host, storage, "work-poison", journal.encode())) == 1
    assert [entry[1] for entry in _entries(host, journal)] == [1, 2]


def test_text_that_is_not_base64_is_poison_immediately(host: Host, storage: str) -> None:
    _queue(storage, "texts").send_message("not base64!")

    def poison() -> Any:
        try:
            return _queue(storage, "texts-poison").receive_message()
        except ResourceNotFoundError:
            return None

    message = host.until(poison, lambda found: found is not None)
    assert message.content == "not base64!"


def test_white_space_in_base64_is_ignored(host: Host, storage: str) -> None:
    _queue(storage, "anything").send_message("d3Jh\r\ncHBl \t\nZA==\n")

    host.until(lambda: [e[0] for e in _entries(host, "anything")], lambda seen: "wrapped" in seen)


def test_a_body_that_is_not_utf8_fails_before_the_function_runs(host: Host, storage: str) -> None:
    message_id = _put(storage, "anything", b"\xff\x00 not UTF-8")

    assert _found(host, storage, "anything-poison") == [b"\xff\x00 not UTF-8"]
    log = host.log.read_text()
    tried = [f"'anything' failed on message {message_id} (attempt {n})" in log for n in (1, 2, 3)]
    assert tried == [True, True, False]


def test_a_binary_binding_accepts_any_bytes(host: Host, storage: str) -> None:
    _put(storage, "binaries", b"\xff\x00 not UTF-8")

    assert _found(host, storage, "binary-copies", b"\xff") == [b"\xff\x00 not UTF-8"]


def test_a_queue_created_later_is_read(host: Host, storage: str) -> None:
    host.until(lambda: "Queue 'late' does not exist" in host.log.read_text(), bool)
    queue = _queue(storage, "late")
    with pytest.raises(ResourceNotFoundError):
        queue.get_queue_properties()
    queue.create_queue()
    _put(storage, "late", b"hello")

    assert host.until(lambda: host.journal("late"), bool, timeout=3) == ["hello"]


def test_a_message_in_flight_is_hidden_for_ten_minutes(host: Host, storage: str) -> None:
    _put(storage, "anything", b"in flight")

    seen = host.until(lambda: dict(_entries(host, "anything")), lambda seen: "in flight" in seen)
    assert 590 < seen["in flight"] <= 600


def test_after_crashes_a_message_is_retried_and_finally_poison(
    make_host: Any, storage: str
) -> None:
    _queue(storage, "crashes").create_queue()
    body = json.dumps({"journal": "crashes", "seconds": 60}).encode()
    with make_host("queues", start=False, Storage=storage, WORK_QUEUE="crashes") as host:
        host.service.argv += ["--visibility-timeout", "2"]
        host.start()
        _put(storage, "crashes", body)
        for attempt in (1, 2):
            host.until(lambda: len(_entries(host, "crashes")), lambda n, a=attempt: n == a)
            host.service.kill()
            host.start()

        assert _found(host, storage, "crashes-poison") == [body]
        assert [entry[1] for entry in _entries(host, "crashes")] == [1, 2]


@pytest.mark.long
def test_an_orderly_stop_releases_a_message_in_flight(make_host: Any, storage: str) -> None:
    _queue(storage, "stops").create_queue()
    order = {"journal": "stops", "seconds": 60}
    with make_host("queues", Storage=storage, WORK_QUEUE="stops") as host:
        _put(storage, "stops", json.dumps(order).encode())
        host.until(lambda: _entries(host, "stops"), bool)
        host.service.stop()
        host.start()

        host.until(lambda: len(_entries(host, "stops")), lambda n: n == 2, timeout=5)


def test_a_str_parameter_gets_the_text(host: Host, storage: str) -> None:
    _put(storage, "texts", "héllo".encode())

    assert host.until(lambda: host.journal("texts"), bool) == ["héllo"]


def test_messages_run_concurrently_up_to_the_batch_size(host: Host, storage: str) -> None:
    journals = [_send(storage, seconds=0.4) for _ in range(4)]

    host.until(lambda: all(_entries(host, j) for j in journals), bool, timeout=1.5)


@pytest.mark.long
def test_two_hosts_share_a_queue_and_run_each_message_once(
    host: Host, make_host: Any, storage: str
) -> None:
    with make_host("queues", Storage=storage, WORK_QUEUE="work") as second:
        journals = [_send(storage, seconds=0.4) for _ in range(12)]
        second.until(lambda: _left(storage, "work"), lambda count: count == 0, timeout=30)
        runs = [[len(_entries(one, journal)) for journal in journals] for one in (host, second)]

    assert [sum(counts) for counts in zip(*runs, strict=True)] == [1] * 12
    assert all(map(sum, runs)), "one host took all messages"


def test_outputs_are_sent(host: Host, storage: str) -> None:
    _put(storage, "letters", b"letter")

    assert _found(host, storage, "copies", b"second") == [b"second letter"]
    assert _found(host, storage, "copies", b"first") == [b"first letter"]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("plain {text", ["plain {text"]),
        (
            '{"mark":"doubled","é":1,"é":[2.50,{}],"n":NaN}',
            ['{\n  "mark": "doubled",\n  "é": [\n    2.5,\n    {}\n  ],\n  "n": "NaN"\n}'],
        ),
        (' ["mark one", {"mark":2}]', ["mark one", '{\n  "mark": 2\n}']),
    ],
)
def test_output_text_is_reformatted_if_it_is_json(
    host: Host, storage: str, text: str, sent: list[str]
) -> None:
    _put(storage, "texts-to-copy", text.encode())
    copies = _queue(storage, "text-copies")

    def look() -> list[str]:
        with contextlib.suppress(ResourceNotFoundError):
            return [base64.b64decode(m.content).decode() for m in copies.peek_messages(9)]
        return []

    assert host.until(look, lambda seen: len(seen) == len(sent)) == sent
    copies.clear_messages()


def test_text_in_braces_that_is_not_json_fails_the_function(host: Host, storage: str) -> None:
    _put(storage, "texts-to-copy", b"{not JSON}")

    assert _found(host, storage, "texts-to-copy-poison") == [b"{not JSON}"]


def test_the_visibility_timeout_is_renewed_while_the_function_runs(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = HostSettings(queues=QueueSettings(message_visibility=2))
    monkeypatch.setenv("Storage", storage)
    calls: list[int | None] = []
    app: Any = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name="long", connection="Storage")
    async def take(msg: func.QueueMessage) -> None:
        calls.append(msg.dequeue_count)
        await asyncio.sleep(3.5)

    async def scenario() -> int:
        host = FunctionsHost(index(app, {}), settings, tmp_path, host_root=tmp_path)
        queue = _queue(storage, "long", message_encode_policy=TextBase64EncodePolicy())
        queue.create_queue()
        queue.send_message("work")
        await host.start()
        async with asyncio.timeout(8):
            while left := _left(storage, "long"):  # noqa: ASYNC110 (no event for a deletion)
                await asyncio.sleep(0.1)
        await host.stop()
        return left

    assert (asyncio.run(scenario()), calls) == (0, [1])
