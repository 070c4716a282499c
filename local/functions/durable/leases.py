"""Leases on work in flight: rows with an owner, hidden from other hosts until they expire.

This follows the Azure Storage provider. A host leases an activity, or the messages of an episode, for
the visibility timeout of host.json, and renews the lease while it runs. After a crash they stay hidden
for the rest of that time. A separate lease, like the provider's partition leases, determines which
host runs an instance. It is short, so that new messages do not wait for those of a crashed host.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

_INSTANCE_LEASE = 30.0  # seconds; the provider's LeaseInterval
_MAX_ABANDON_DELAY = 600  # seconds


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """A scheduled or running activity. `input` is JSON text."""

    number: int
    instance_id: str
    execution_id: str
    task_id: int
    name: str
    input: str | None


class Leases:
    """The leases of one host process. Times are in seconds."""

    def __init__(self, db: sqlite3.Connection, messages: float, activities: float) -> None:
        self._db, self._messages, self._activities = db, messages, activities
        self._instances = min(_INSTANCE_LEASE, messages)
        self.owner = uuid.uuid4().hex
        self.renewal_interval = min(self._instances, activities) / 10

    def take_instance(self, instance_id: str) -> bool:
        """Lease an instance to this host. False if another host has the lease."""
        now = time.time()
        taken = self._db.execute(
            "update instances set owner=?, hidden_until=?"
            " where id=? and (owner is null or owner=? or hidden_until<=?)",
            (self.owner, now + self._instances, instance_id, self.owner, now),
        )
        return taken.rowcount == 1

    def holds(self, instance_id: str, execution_id: str) -> bool:
        """Whether this host still has the lease on the instance, in the same execution."""
        row = self._db.execute(
            "select 1 from instances where id=? and execution_id=? and owner=?",
            (instance_id, execution_id, self.owner),
        )
        return row.fetchone() is not None

    def release_instance(self, instance_id: str) -> None:
        self._db.execute(
            "update instances set owner=null where id=? and owner=?", (instance_id, self.owner)
        )

    def expires_at(self, instance_id: str) -> float:
        """The Unix time at which the lease on an instance expires."""
        row = self._db.execute("select hidden_until from instances where id=?", (instance_id,))
        return float(row.fetchone()[0])

    def take_messages(self, numbers: Sequence[int]) -> None:
        until = time.time() + self._messages
        self._db.executemany(
            "update messages set owner=?, hidden_until=?, dequeues=dequeues+1 where n=?",
            [(self.owner, until, number) for number in numbers],
        )

    def abandon_messages(self, numbers: Sequence[int]) -> None:
        """Release messages, hidden for 2, 4, 8, ... seconds depending on how often they were taken."""
        self._db.executemany(
            "update messages set owner=null,"
            " hidden_until=?+min(1 << min(dequeues, 30), ?) where n=?",
            [(time.time(), _MAX_ABANDON_DELAY, number) for number in numbers],
        )

    def take_activities(self, limit: int) -> list[ActivityTask]:
        """Lease up to `limit` activities that no host runs, oldest first."""
        now = time.time()
        rows = self._db.execute(
            "update activities set owner=?, hidden_until=? where n in (select n from activities"
            " where hidden_until<=? and owner is not ? order by n limit ?)"
            " returning n, instance_id, execution_id, task_id, name, input",
            (self.owner, now + self._activities, now, self.owner, limit),
        ).fetchall()
        return sorted((ActivityTask(*row) for row in rows), key=lambda task: task.number)

    def next_expiry(self) -> float | None:
        """The Unix time at which the next lease of another host on an activity expires, or None."""
        row = self._db.execute(
            "select min(hidden_until) from activities where hidden_until>? and owner is not ?",
            (time.time(), self.owner),
        )
        due = row.fetchone()[0]
        return None if due is None else float(due)

    def renew(self) -> None:
        now = time.time()
        for table, seconds in (
            ("instances", self._instances),
            ("messages", self._messages),
            ("activities", self._activities),
        ):
            self._db.execute(
                f"update {table} set hidden_until=? where owner=?",  # noqa: S608 (constants)
                (now + seconds, self.owner),
            )

    def release(self) -> None:
        """Release all leases of this host, at an orderly shutdown."""
        for table in ("instances", "messages", "activities"):
            self._db.execute(
                f"update {table} set owner=null, hidden_until=0 where owner=?",  # noqa: S608 (constants)
                (self.owner,),
            )
