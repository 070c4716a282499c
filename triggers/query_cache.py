"""Database queries of HTTP requests: identical ones run once, in their own threads.

A page polls every two seconds, and a client as often as it likes. Activities use other threads, so that
an unresponsive database does not block other fleets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

FRESH = 1.0
"""Seconds for which a result is reused; a fleet does not poll more often either."""
THREADS = 8
"""The maximum number of connections per worker for HTTP requests."""

_threads = ThreadPoolExecutor(THREADS, "asked")
_asked: dict[Hashable, asyncio.Future[Any]] = {}


async def ask(key: Hashable, look: Callable[..., Any], *arguments: Any) -> Any:
    """What `look` returns or raises, shared by all callers with this key within FRESH seconds."""
    loop = asyncio.get_running_loop()
    known = (loop, key)
    answer = _asked.get(known)
    if answer is None:
        answer = _asked[known] = loop.run_in_executor(_threads, look, *arguments)
        answer.add_done_callback(lambda _: loop.call_later(FRESH, _asked.pop, known, None))
    return await asyncio.shield(answer)  # a cancelled caller does not cancel it for the others
