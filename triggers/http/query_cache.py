"""Database queries of HTTP requests: identical ones run once.

A page polls every two seconds, and a client as often as it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from fleet.store.executors import Executor

FRESH = 1.0
"""Seconds for which a result is reused; a fleet does not poll more often either."""

_asked: dict[Hashable, asyncio.Future[Any]] = {}


async def ask(
    executor: Executor, key: Hashable, look: Callable[..., Any], uri: str, *arguments: Any
) -> Any:
    """What `look(uri, *arguments)` returns or raises, run by `executor`, shared by all callers with this
    key within FRESH seconds. Raises DatabaseBusy.
    """
    loop = asyncio.get_running_loop()
    known = (loop, uri, key)
    answer = _asked.get(known)
    if answer is None:
        answer = _asked[known] = asyncio.ensure_future(executor.run(look, uri, *arguments))
        answer.add_done_callback(lambda _: loop.call_later(FRESH, _asked.pop, known, None))
    return await asyncio.shield(answer)  # a cancelled caller does not cancel it for the others
