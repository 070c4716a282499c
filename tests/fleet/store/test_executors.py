"""Threads for database operations, and how an unresponsive database affects them."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleet.store import executors
from fleet.store.database import DatabaseBusy
from fleet.store.executors import ACTIVITIES, Executor
from fleet.store.trials import count
from tests.relay import silent_server

URI, OTHER = "postgresql://me:secret@one/db", "postgresql://me:secret@two/db"


@pytest.fixture
def blocked() -> Any:
    """Work that ends with the test, or when the event is set."""
    released = threading.Event()
    yield released
    released.set()


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def within_a_minute() -> Any:
        return await asyncio.wait_for(work(), 60)

    return asyncio.run(within_a_minute())


async def begin(executor: Executor, uri: str, blocked: threading.Event) -> asyncio.Task[Any]:
    """Start a long operation in a thread."""
    loop, started = asyncio.get_running_loop(), asyncio.Event()

    def wait(_: str) -> None:
        loop.call_soon_threadsafe(started.set)
        blocked.wait(60)

    task = asyncio.ensure_future(executor.run(wait, uri))
    await started.wait()
    return task


def test_an_unresponsive_postgresql_delays_no_other_fleet(
    benchmark_database: Any,
):
    """Four plans, each with three operations, and then the operations of a fleet on another database."""
    experiment = benchmark_database.experiment("", trials=2)

    async def work() -> tuple[Any, Any, list[bool]]:
        pending = [
            asyncio.ensure_future(ACTIVITIES.run(count, f"postgresql://me:secret@{place}/db", 1))
            for place in places
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        counted = await ACTIVITIES.run(count, benchmark_database.uri, experiment)
        resolved = await asyncio.get_running_loop().getaddrinfo("localhost", 443)
        ended = [one.done() for one in pending]
        for one in pending:
            one.cancel()
        return counted["ready"], resolved != [], ended

    with ExitStack() as stack:
        places = [stack.enter_context(silent_server()) for _ in range(4)]
        assert run(work) == (2, True, [False] * 12)


def test_a_server_is_limited_to_its_share_of_the_threads(blocked: threading.Event):
    executor = Executor("test", threads=3, share=2)

    async def work() -> tuple[str, bool]:
        tasks = [await begin(executor, URI, blocked) for _ in range(2)]
        third = asyncio.ensure_future(executor.run(str, URI))
        beside = await executor.run(str, OTHER)
        waits = not third.done()
        blocked.set()
        await asyncio.gather(*tasks, third)
        return beside, waits

    assert run(work) == (OTHER, True)


@pytest.mark.parametrize("place", ["ONE", "one:05432", "one.:5432"])
def test_users_and_databases_of_one_server_share_its_threads(
    blocked: threading.Event, monkeypatch: pytest.MonkeyPatch, place: str
):
    monkeypatch.setattr(executors, "QUEUE_TIMEOUT", 0.01)
    executor = Executor("test", threads=2, share=1)

    async def work() -> None:
        await begin(executor, URI, blocked)
        await executor.run(str, f"postgresql+psycopg2://you:other@{place}/more?options=x")

    with pytest.raises(DatabaseBusy):
        run(work)


def test_a_full_executor_rejects_operations(
    blocked: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(executors, "QUEUE_TIMEOUT", 0.01)
    executor = Executor("test", threads=1, share=1)

    async def work() -> tuple[str, str]:
        task = await begin(executor, URI, blocked)
        with pytest.raises(DatabaseBusy) as raised:
            await executor.run(str, OTHER)
        blocked.set()
        await task
        return str(raised.value), await executor.run(str, OTHER)

    reason, after = run(work)
    assert ("Nothing was sent" in reason, after) == (True, OTHER)


def test_the_wait_for_a_thread_is_as_documented():
    text = (Path(__file__).parents[3] / "docs/operating.md").read_text()
    assert f"If no thread becomes free within {executors.QUEUE_TIMEOUT:g} s, " in text


def test_a_cancelled_operation_keeps_its_place_until_it_ends(
    blocked: threading.Event, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(executors, "QUEUE_TIMEOUT", 0.01)
    executor = Executor("test", threads=1, share=1)

    async def work() -> str:
        (await begin(executor, URI, blocked)).cancel()
        with pytest.raises(DatabaseBusy):
            await executor.run(str, URI)
        blocked.set()
        monkeypatch.setattr(executors, "QUEUE_TIMEOUT", 30)
        return await executor.run(str, URI)

    assert run(work) == URI


def test_releasing_an_operation_does_not_wait_for_a_thread(blocked: threading.Event):
    """Otherwise the lease that all others wait for could not be released."""
    executor = Executor("test", threads=2, share=1)

    async def work() -> str:
        await begin(executor, URI, blocked)
        return await executor.finish(str, "released")

    assert run(work) == "released"


def test_the_app_does_not_use_the_event_loops_threads():
    """They resolve host names for every call to Azure."""
    root = Path(__file__).parents[3]
    sources = [
        file for name in ("fleet", "activities", "triggers") for file in (root / name).rglob("*.py")
    ]
    uses = re.compile(r"to_thread\(|run_in_executor\(")
    assert [file for file in sources if uses.search(file.read_text())] == []


def test_idle_servers_keep_no_threads():
    """Requests name the servers, in any number."""
    executor = Executor("test", threads=2, share=1)

    async def work() -> int:
        for number in range(50):
            await executor.run(str, f"postgresql://me@host{number}/db")
        await asyncio.sleep(0)
        gc.collect()
        return len(executor._slots)

    assert run(work) <= 1
