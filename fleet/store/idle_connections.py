"""Open connections between transactions: a login costs the server more than most transactions.

The caller keeps no state in the session, so any transaction with the same login may be next.
"""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from psycopg2 import extensions

Connection = TypeVar("Connection", bound=extensions.connection)

IDLE_SECONDS = 5
"""After which a connection is closed: small servers have few, and an idle app needs none."""

KEPT = 8
"""Idle connections of the process."""


class IdleConnections(Generic[Connection]):
    """Keeps up to `kept` connections for `seconds` to `2 * seconds`. Threads may share it."""

    def __init__(self, seconds: float = IDLE_SECONDS, kept: int = KEPT) -> None:
        self._seconds, self._kept = seconds, kept
        self._idle: deque[tuple[float, Hashable, Connection]] = deque()
        """Since when each is idle, and its login; the newest last."""
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def take(self, login: Hashable) -> Connection | None:
        """The newest connection with this login that its server has not closed."""
        with self._lock:
            found = [one for one in self._idle if one[1] == login]
            for one in reversed(found):
                self._idle.remove(one)
                if not _has_input(one[2]):
                    return one[2]
                one[2].close()
        return None

    def keep(self, login: Hashable, database: Connection) -> None:
        """Take over a connection without a transaction. The one that is idle longest may be closed."""
        with self._lock:
            self._idle.append((time.monotonic(), login, database))
            if len(self._idle) > self._kept:
                self._idle.popleft()[2].close()
            if self._timer is None:
                self._start_timer()

    def close(self, login: Hashable) -> None:
        """Close all with this login."""
        with self._lock:
            for one in [one for one in self._idle if one[1] == login]:
                self._idle.remove(one)
                one[2].close()

    def _start_timer(self) -> None:
        self._timer = threading.Timer(self._seconds, self._close_old)
        self._timer.daemon = True
        self._timer.start()

    def _close_old(self) -> None:
        with self._lock:
            while self._idle and self._idle[0][0] <= time.monotonic() - self._seconds:
                self._idle.popleft()[2].close()
            self._timer = None
            if self._idle:
                self._start_timer()


def _has_input(database: extensions.connection) -> bool:
    """Whether the server sent something between two transactions: its farewell."""
    poll = select.poll()
    poll.register(database.fileno(), select.POLLIN)
    return bool(poll.poll(0))
