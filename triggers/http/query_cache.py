"""Shares results between HTTP requests: of identical database queries, and of health checks.

Pages poll every two seconds, clients at any rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from fleet.store.executors import Executor

T = TypeVar("T")

MAX_AGE = 1.0
"""Seconds for which the result of a query is reused; a fleet updates its records no more often."""

_results: dict[Hashable, asyncio.Future[Any]] = {}


async def run(
    executor: Executor, key: Hashable, query: Callable[..., Any], uri: str, *arguments: Any
) -> Any:
    """The shared result of `query(uri, *arguments)`, run with `executor`. Raises DatabaseBusy."""
    return await share((uri, key), MAX_AGE, lambda: executor.run(query, uri, *arguments))


async def share(key: Hashable, max_age: float, start: Callable[[], Awaitable[T]]) -> T:
    """Returns or raises the result of `start`, which all callers with this key share while it runs and
    for `max_age` seconds.
    """
    loop = asyncio.get_running_loop()
    shared = (loop, key)
    result = _results.get(shared)
    if result is None:
        result = _results[shared] = asyncio.ensure_future(start())
        result.add_done_callback(lambda _: loop.call_later(max_age, _results.pop, shared, None))
    return await asyncio.shield(result)  # a cancelled caller must not cancel it for the others
