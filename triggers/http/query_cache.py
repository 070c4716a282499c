"""Shares the results of identical database queries between HTTP requests.

Pages poll every two seconds, clients at any rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from fleet.store.executors import Executor

MAX_AGE = 1.0
"""Seconds for which a result is reused; a fleet updates its records no more often."""

_results: dict[Hashable, asyncio.Future[Any]] = {}


async def run(
    executor: Executor, key: Hashable, query: Callable[..., Any], uri: str, *arguments: Any
) -> Any:
    """Run `query(uri, *arguments)` with `executor`. Returns or raises its result, which all callers with
    this key share for MAX_AGE seconds. Raises DatabaseBusy.
    """
    loop = asyncio.get_running_loop()
    shared = (loop, uri, key)
    result = _results.get(shared)
    if result is None:
        result = _results[shared] = asyncio.ensure_future(executor.run(query, uri, *arguments))
        result.add_done_callback(lambda _: loop.call_later(MAX_AGE, _results.pop, shared, None))
    return await asyncio.shield(result)  # a cancelled caller must not cancel it for the others
