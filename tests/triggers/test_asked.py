"""Many questions to a slow database: what they cost it, and whom they hold up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from triggers import query_cache


class Database:
    """One that answers as soon as it is let."""

    def __init__(self) -> None:
        self.times = 0
        self.answers = threading.Event()

    def look(self) -> int:
        self.times += 1
        number = self.times
        self.answers.wait(30)
        return number

    def fail(self) -> None:
        self.times += 1
        raise LookupError(f"no answer {self.times}")


@pytest.fixture
def database() -> Database:
    return Database()


async def crowd(database: Database, count: int, key: Callable[[int], Any]) -> list[int]:
    """So many who ask at once."""
    every = [asyncio.ensure_future(query_cache.ask(key(n), database.look)) for n in range(count)]
    await asyncio.sleep(0)
    database.answers.set()
    return await asyncio.gather(*every)


def test_who_asks_the_same_at_the_same_time_shares_an_answer(database: Database):
    assert asyncio.run(crowd(database, 50, lambda _: "a fleet")) == [1] * 50


def test_who_asks_for_another_fleet_has_another_answer(database: Database):
    assert sorted(asyncio.run(crowd(database, 3, lambda n: n))) == [1, 2, 3]


def test_an_answer_is_asked_for_anew_once_it_is_old(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(query_cache, "FRESH", 0.0)
    database.answers.set()

    async def twice() -> list[int]:
        first = await query_cache.ask("a fleet", database.look)
        await asyncio.sleep(0.01)
        return [first, await query_cache.ask("a fleet", database.look)]

    assert asyncio.run(twice()) == [1, 2]


def test_an_error_is_shared_too(database: Database):
    async def both() -> list[Any]:
        two = (query_cache.ask("a fleet", database.fail) for _ in range(2))
        return list(await asyncio.gather(*two, return_exceptions=True))

    assert [str(one) for one in asyncio.run(both())] == ["no answer 1"] * 2


def test_one_who_goes_away_takes_the_answer_from_nobody(database: Database):
    async def leave() -> int:
        hasty = asyncio.ensure_future(query_cache.ask("a fleet", database.look))
        patient = asyncio.ensure_future(query_cache.ask("a fleet", database.look))
        await asyncio.sleep(0)
        hasty.cancel()
        database.answers.set()
        return int(await patient)

    assert asyncio.run(leave()) == 1


def test_activities_have_threads_of_their_own(database: Database):
    async def beside() -> str:
        crowd = [asyncio.ensure_future(query_cache.ask(n, database.look)) for n in range(100)]
        await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(asyncio.to_thread(lambda: "at work"), 10)
        finally:
            database.answers.set()
            await asyncio.gather(*crowd)

    assert asyncio.run(beside()) == "at work"
