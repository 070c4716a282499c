"""Questions to the database that somebody waits for: alike ones are asked once, by threads apart.

A page asks every two seconds, and a client as often as it likes. Activities have the other threads: a
database that does not answer must not keep another fleet from its work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

FRESH = 1.0
"""Seconds for which an answer is given again: a fleet looks no more often."""
THREADS = 8
"""At most so many connections of a worker serve answers."""

_threads = ThreadPoolExecutor(THREADS, "asked")
_asked: dict[Hashable, asyncio.Future[Any]] = {}


async def ask(key: Hashable, look: Callable[..., Any], *arguments: Any) -> Any:
    """What `look` returns or raises; the same to all who ask under this key meanwhile, or soon after."""
    loop = asyncio.get_running_loop()
    known = (loop, key)
    answer = _asked.get(known)
    if answer is None:
        answer = _asked[known] = loop.run_in_executor(_threads, look, *arguments)
        answer.add_done_callback(lambda _: loop.call_later(FRESH, _asked.pop, known, None))
    return await asyncio.shield(answer)  # one who no longer waits takes it from nobody else
