"""The task hub's SQLite file: its tables and their rows.

`synchronous=NORMAL` in WAL mode survives a crash of the process. A power failure can lose the last
commits, but not consistency; a sync per episode would be too slow for a stand-in. Only the event
loop's thread uses the connection. Several host processes may open the file.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.functions.durable.episode import Instance, execution_started
from local.functions.durable.history import Event, Status, timestamp
from local.functions.durable.leases import Leases

_SCHEMA = """
pragma busy_timeout = 5000;
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists instances(
  id text primary key, execution_id text not null, name text not null, status text not null,
  parent_id text, parent_execution_id text, parent_task_id integer,
  input text, output text, custom_status text, open_waits text not null default '{}',
  created text not null, updated text not null);
create table if not exists history(
  instance_id text, seq integer, event text not null, primary key(instance_id, seq)) without rowid;
create table if not exists messages(
  n integer primary key autoincrement, instance_id text not null, execution_id text,
  due real not null, event text not null);
create index if not exists messages_by_instance on messages(instance_id, due);
create table if not exists activities(
  n integer primary key autoincrement, instance_id text not null, execution_id text not null,
  task_id integer not null, name text not null, input text);
"""
_LEASE = ("owner text", "hidden_until real not null default 0")
# Columns that files of earlier versions lack.
_ADDED = {
    "instances": ("version text", *_LEASE),
    "messages": (*_LEASE, "dequeues integer not null default 0"),
    "activities": _LEASE,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message for an instance. It is visible to this host from the Unix time `due`."""

    number: int
    due: float
    event: Event


class Tables:
    """The file `path`, created if missing. Two processes must not create it concurrently."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        for table, columns in _ADDED.items():
            known = {row[1] for row in self._db.execute(f"pragma table_info({table})")}
            for column in columns:
                if column.split()[0] not in known:
                    self._db.execute(f"alter table {table} add column {column}")
        self._db.row_factory = sqlite3.Row
        self._seen_version = 0

    def close(self) -> None:
        self._db.close()

    def leases(self, messages: float, activities: float) -> Leases:
        """The leases of this host, with their durations in seconds."""
        return Leases(self._db, messages, activities)

    def changed(self) -> bool:
        """Whether another process has written since the last call. True for the first call."""
        seen, (self._seen_version,) = (
            self._seen_version,
            self._db.execute("pragma data_version").fetchone(),
        )
        return bool(seen != self._seen_version)

    def instance(self, instance_id: str) -> Instance | None:
        """The instance, or None."""
        row = self.record(instance_id)
        if row is None:
            return None
        return Instance(
            id=row["id"], execution_id=row["execution_id"], name=row["name"], status=row["status"],
            input=row["input"], parent_id=row["parent_id"],
            parent_execution_id=row["parent_execution_id"], parent_task_id=row["parent_task_id"],
            open_waits=json.loads(row["open_waits"]), version=row["version"],
        )  # fmt: skip

    def history(self, instance_id: str) -> list[Event]:
        rows = self._db.execute(
            "select event from history where instance_id=? order by seq", (instance_id,)
        )
        return [json.loads(row["event"]) for row in rows]

    def messages(self, instance: Instance, owner: str) -> list[Message]:
        """The messages for `instance` in order of time, including future timers and those hidden from
        `owner`."""
        rows = self._db.execute(
            "select n, iif(owner is ?, due, max(due, hidden_until)) as visible, event"
            " from messages where instance_id=?"
            " and (execution_id is null or execution_id=?) order by due, n",
            (owner, instance.id, instance.execution_id),
        )
        return [Message(row["n"], row["visible"], json.loads(row["event"])) for row in rows]

    def waiting(self) -> list[tuple[str, float]]:
        """Every instance with messages, and the time at which its first message becomes visible."""
        rows = self._db.execute(
            "select instance_id, min(max(due, hidden_until)) from messages group by instance_id"
        )
        return [(row[0], row[1]) for row in rows]

    def record(self, instance_id: str) -> sqlite3.Row | None:
        """The instance's row, for a status query."""
        row = self._db.execute("select * from instances where id=?", (instance_id,)).fetchone()
        return row if isinstance(row, sqlite3.Row) else None

    def records(
        self,
        *,
        prefix: str = "",
        created_from: str | None = None,
        created_to: str | None = None,
        statuses: Sequence[str] = (),
        start_at: str = "",
        top: int,
    ) -> list[sqlite3.Row]:
        """Up to `top` rows by id, from `start_at` on. Times have the format of `history.timestamp`."""
        wanted = [json.dumps(list(statuses))] * 2
        rows = self._db.execute(
            "select * from instances where id >= ? and substr(id, 1, length(?)) = ?"
            " and created >= ? and created <= ?"
            " and (? = '[]' or status in (select value from json_each(?))) order by id limit ?",
            (start_at, prefix, prefix, created_from or "", created_to or "~", *wanted, top),
        )
        return rows.fetchall()

    def history_length(self, instance_id: str) -> int:
        query = "select seq from history where instance_id=? order by seq desc limit 1"
        row = self._db.execute(query, (instance_id,)).fetchone()
        return 0 if row is None else int(row[0]) + 1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all of the block's writes, or none."""
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def create(
        self,
        name: str,
        instance_id: str,
        input_json: str | None,
        version: str | None,
        parent: Instance | None = None,
        task_id: int | None = None,
    ) -> None:
        """Create or replace an instance, and send its first message."""
        self.delete_events(instance_id)
        execution_id, now = uuid.uuid4().hex if parent else str(uuid.uuid4()), timestamp()
        self._db.execute(
            "insert or replace into instances(id, execution_id, name, status, parent_id,"
            " parent_execution_id, parent_task_id, input, version, created, updated)"
            " values(?,?,?,?,?,?,?,?,?,?,?)",
            (
                instance_id, execution_id, name, Status.PENDING, parent and parent.id,
                parent and parent.execution_id, task_id, input_json, version, now, now,
            ),
        )  # fmt: skip
        started = execution_started(
            name, input_json, instance_id, execution_id, parent, task_id, version
        )
        self.post(instance_id, execution_id, started)

    def delete_events(self, instance_id: str) -> None:
        """Delete the history and the messages of an instance."""
        self._db.execute("delete from history where instance_id=?", (instance_id,))
        self.drop_messages(instance_id)

    def delete_execution(self, instance: Instance) -> None:
        """Delete the history of an execution, and the messages for it."""
        self._db.execute("delete from history where instance_id=?", (instance.id,))
        self._db.execute(
            "delete from messages where instance_id=? and execution_id=?",
            (instance.id, instance.execution_id),
        )

    def drop_messages(self, instance_id: str) -> None:
        self._db.execute("delete from messages where instance_id=?", (instance_id,))

    def delete(self, instance_id: str) -> None:
        """Delete an instance with its history and messages."""
        self.delete_events(instance_id)
        self._db.execute("delete from instances where id=?", (instance_id,))

    def add_activity(
        self, instance: Instance, task_id: int, name: str, input_json: str | None
    ) -> None:
        self._db.execute(
            "insert into activities(instance_id, execution_id, task_id, name, input)"
            " values(?,?,?,?,?)",
            (instance.id, instance.execution_id, task_id, name, input_json),
        )

    def drop_activity(self, number: int, owner: str) -> bool:
        """Remove an activity. Returns False if `owner` no longer has the lease."""
        dropped = self._db.execute("delete from activities where n=? and owner=?", (number, owner))
        return dropped.rowcount == 1

    def post(
        self, instance_id: str, execution_id: str | None, message: Event, due: float | None = None
    ) -> None:
        """Send a message to one execution, or with None to the current one. It is visible from `due`."""
        due = time.time() if due is None else due
        self._db.execute(
            "insert into messages(instance_id, execution_id, due, event) values(?,?,?,?)",
            (instance_id, execution_id, due, json.dumps(message)),
        )

    def consume(self, messages: Sequence[Message]) -> None:
        self._db.executemany("delete from messages where n=?", [(m.number,) for m in messages])

    def append(self, instance_id: str, past: int, events: Sequence[Event]) -> None:
        """Add `events` to a history that has `past` of them."""
        self._db.executemany(
            "insert into history values(?,?,?)",
            [(instance_id, past + i, json.dumps(e)) for i, e in enumerate(events)],
        )

    def update(self, instance: Instance, **columns: Any) -> None:
        """Set columns of an instance, and the time of its last update."""
        columns["updated"] = timestamp()
        assignments = ", ".join(f"{name}=?" for name in columns)
        self._db.execute(
            f"update instances set {assignments} where id=?",  # noqa: S608 (constants)
            (*columns.values(), instance.id),
        )
