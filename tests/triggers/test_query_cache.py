"""Many concurrent requests to a slow database: how often it is queried, and what they block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.fernet import Fernet

from fleet.api.openapi.examples import RESPONSES
from fleet.store import executors, vm_use
from fleet.store.executors import Executor
from tests.fleets import placement
from triggers.http import query_cache
from triggers.http.problems import with_problems
from triggers.http.right_sizing import right_sizing_of

URI = "postgresql://me@host/db"
QUERIES = Executor("test", 8, 8)


class Database:
    """A database that responds once `released` is set."""

    def __init__(self) -> None:
        self.times = 0
        self.released = threading.Event()

    def query(self, _: str) -> int:
        self.times += 1
        number = self.times
        self.released.wait(30)
        return number

    def fail(self, _: str) -> None:
        self.times += 1
        raise LookupError(f"no response {self.times}")


async def ask(key: Any, query: Callable[[str], Any]) -> Any:
    return await query_cache.run(QUERIES, key, query, URI)


@pytest.fixture
def database() -> Database:
    return Database()


async def query_concurrently(
    database: Database, count: int, key: Callable[[int], Any]
) -> list[int]:
    """`count` concurrent queries."""
    queries = [asyncio.ensure_future(ask(key(n), database.query)) for n in range(count)]
    await asyncio.sleep(0)
    database.released.set()
    return await asyncio.gather(*queries)


def test_concurrent_identical_queries_share_a_response(database: Database):
    assert asyncio.run(query_concurrently(database, 50, lambda _: "a fleet")) == [1] * 50


def test_different_keys_are_queried_separately(database: Database):
    assert sorted(asyncio.run(query_concurrently(database, 3, lambda n: n))) == [1, 2, 3]


def test_an_expired_response_is_queried_again(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query_cache, "MAX_AGE", 0.0)
    database.released.set()

    async def twice() -> list[int]:
        first = await ask("a fleet", database.query)
        await asyncio.sleep(0.01)
        return [first, await ask("a fleet", database.query)]

    assert asyncio.run(twice()) == [1, 2]


def test_concurrent_queries_share_an_error(database: Database):
    async def both() -> list[Any]:
        two = (ask("a fleet", database.fail) for _ in range(2))
        return list(await asyncio.gather(*two, return_exceptions=True))

    assert [str(one) for one in asyncio.run(both())] == ["no response 1"] * 2


def test_concurrent_questions_for_a_smaller_size_share_a_query(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    def use(uri: str, _: Any) -> dict[int, Any]:
        database.query(uri)
        return {}

    monkeypatch.setattr(vm_use, "read", use)
    monkeypatch.setenv("FLEET_SEALING_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("POWERLIFT_DB_URI", URI)
    database.released.set()
    vm: Any = {**RESPONSES["Machines"]["machines"][0], "placement": placement()}
    order: Any = {"experiment_id": 1, "batch_id": 7, "vm": {}, "prices": {}}

    async def both() -> list[Any]:
        ended = datetime(2026, 1, 2, tzinfo=UTC)
        return await asyncio.gather(*(right_sizing_of(order, [vm], URI, ended) for _ in range(2)))

    first, second = asyncio.run(both())
    assert (database.times, first) == (1, second)


def test_a_cancelled_caller_does_not_cancel_the_query(database: Database):
    async def leave() -> int:
        cancelled = asyncio.ensure_future(ask("a fleet", database.query))
        waiting = asyncio.ensure_future(ask("a fleet", database.query))
        await asyncio.sleep(0)
        cancelled.cancel()
        database.released.set()
        return int(await waiting)

    assert asyncio.run(leave()) == 1


def test_a_full_executor_is_a_503_with_retry_after(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(executors, "QUEUE_TIMEOUT", 0.01)
    full = Executor("full", 1, 1)

    @with_problems
    async def answer() -> Any:
        return await query_cache.run(full, "second", database.query, URI)

    async def both() -> Any:
        first = asyncio.ensure_future(query_cache.run(full, "first", database.query, URI))
        await asyncio.sleep(0)  # takes the only thread
        try:
            return await answer()
        finally:
            database.released.set()
            await first

    response = asyncio.run(both())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
