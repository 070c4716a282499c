"""Database queries that somebody waits for: equal ones are sent once.

A page asks every two seconds, and a client as often as it likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

from fleet.store.executors import Executor

FRESH = 1.0
"""Seconds for which a response is reused: a fleet polls no more often."""

_asked: dict[Hashable, asyncio.Future[Any]] = {}


async def ask(
    executor: Executor, key: Hashable, look: Callable[..., Any], uri: str, *arguments: Any
) -> Any:
    """What `look(uri, *arguments)` returns or raises, by `executor`: the same for all who ask under this
    key meanwhile, or soon after. Raises DatabaseBusy.
    """
    loop = asyncio.get_running_loop()
    known = (loop, uri, key)
    answer = _asked.get(known)
    if answer is None:
        answer = _asked[known] = asyncio.ensure_future(executor.run(look, uri, *arguments))
        answer.add_done_callback(lambda _: loop.call_later(FRESH, _asked.pop, known, None))
    return await asyncio.shield(answer)  # a caller that stops waiting takes it from nobody else
