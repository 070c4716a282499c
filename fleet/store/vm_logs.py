"""A VM's console log: from Azure while the VM exists, afterwards from the database.

A VM stores its log itself when it ends (`startup/`); for a failed VM, the app does. Both write to
`powerlift_fleet_runner`, and neither overwrites the other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from azure.core.exceptions import AzureError, ResourceNotFoundError

from fleet.azure.client import Azure
from fleet.azure.error_classifier import describe
from fleet.azure.serial_console import WORD_ENDS, ConsolePart
from fleet.model import names
from fleet.model.order_parts import FleetRef
from fleet.redaction import after_cut, redact
from fleet.store.database import DatabaseUnreachable, may_read, rows, short_outcome, transaction
from fleet.store.executors import QUERIES

LIMIT = 32 * 1024
"""Bytes at the end of a log that are stored and shown, here and in `startup/`."""

LOG_READ_TIMEOUT = 5.0
"""Seconds to read a VM's log, which must not delay the VM's deletion."""
_LONGEST_CHARACTER = 4  # bytes
LOG_DATABASE_TIMEOUT = 3
"""Seconds to connect, and per statement, for the same reason."""


_POSITION = re.compile("(console|stored)-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a VM's log, between two lines."""

    source: str
    """`console`, of a VM that exists, or `stored`."""
    offset: int
    """Bytes from the beginning."""

    @classmethod
    def read(cls, text: str) -> Position:
        """Raises ValueError."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError(text)
        return cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.source}-{self.offset}"


@dataclass(frozen=True, slots=True)
class LogPart:
    text: str
    next: Position
    """After the last complete line of `text`."""


class NoLog(Exception):
    """There is no log of a VM; the message says why."""


@dataclass(frozen=True, slots=True)
class EndedVm:
    """The outcome and log of a VM that has ended."""

    runner_id: int
    vm_name: str
    outcome: str
    log: str | None


@dataclass(frozen=True, slots=True)
class StoredLog:
    """The stored outcome and log of a VM; None for unknown values."""

    log: str | None
    outcome: str | None
    exit_code: int | None
    ended_at: datetime | None

    def ending(self) -> str:
        """How and when the VM ended, in one line; empty if unknown."""
        if self.outcome is None and self.ended_at is None:
            return ""
        outcome = " ".join((self.outcome or "reason unknown").split())
        code = "" if self.exit_code is None else f" (exit code {self.exit_code})"
        when = f" at {self.ended_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if self.ended_at else ""
        return f"ended{when}: {outcome}{code}"


async def read_log(connection: Azure, uri: str, order: FleetRef, ordinal: int) -> LogPart:
    """A VM's log: a line with its state, then the last LIMIT bytes of its console.

    The current log if the VM exists, else the stored one. Redacts the password of `uri`. Raises NoLog.
    """
    name = names.vm(order["batch_id"], ordinal)
    fresh, kept = await asyncio.gather(
        _console_tail(connection, name),
        QUERIES.run(find_log, uri, order["experiment_id"], _runner(order, ordinal)),
        return_exceptions=True,
    )
    if isinstance(kept, BaseException) and not isinstance(kept, DatabaseUnreachable):
        raise kept
    record = kept if isinstance(kept, StoredLog) else StoredLog(None, None, None, None)
    ending = record.ending()
    if isinstance(fresh, ConsolePart):
        title = f"{name} {ending or 'is still running'}; current console log"
        log, position = decode_tail(fresh), _after_lines(fresh)
    elif record.log is not None:
        title, stored = f"{name} {ending}; stored console log", record.log.encode()
        log, position = _from_word(stored, 0), Position("stored", len(stored))
    else:
        raise NoLog(" ".join(_why(name, ending, fresh, kept)))
    title = f"# {title} (last {LIMIT // 1024} KB)\n"
    return LogPart(redact_password(title + log, uri), position)


async def read_log_after(
    connection: Azure, uri: str, order: FleetRef, ordinal: int, after: Position
) -> LogPart:
    """The complete lines that follow a position: at most LIMIT bytes, empty if there are none yet.

    Positions in the console and in the stored log are not comparable: once the VM is deleted, the part
    is its whole stored log. A console that has become shorter is read from its end, as by `read_log`.
    Redacts the password of `uri`. Raises NoLog.
    """
    name = names.vm(order["batch_id"], ordinal)
    fresh: ConsolePart | Exception | None = None
    if after.source == "console":
        try:
            fresh = await _console_part(connection, name, after.offset)
        except (AzureError, TimeoutError) as error:
            fresh = error
    if isinstance(fresh, ConsolePart):
        lines = _decoded(fresh.data[: complete_bytes(fresh.data)])
        text = after_cut(lines) if fresh.begins_in_word else lines
        return LogPart(redact_password(text, uri), _after_lines(fresh))
    record = await QUERIES.run(find_log, uri, order["experiment_id"], _runner(order, ordinal))
    if record is None or record.log is None:
        ending = record.ending() if record else ""
        raise NoLog(" ".join(_why(name, ending, fresh, record)))
    log = record.log.encode()
    text = _from_word(log, after.offset if after.source == "stored" else 0)
    return LogPart(redact_password(text, uri), Position("stored", len(log)))


async def fetch_console(connection: Azure, name: str) -> str | None:
    """The end of an existing VM's console log; None before its first boot.

    Raises HttpResponseError (404 if the VM is deleted), TimeoutError.
    """
    part = await _console_tail(connection, name)
    return None if part is None else decode_tail(part)


async def _console_tail(connection: Azure, name: str) -> ConsolePart | None:
    async with asyncio.timeout(LOG_READ_TIMEOUT):
        return await connection.console.tail(name, LIMIT)


async def _console_part(connection: Azure, name: str, start: int) -> ConsolePart | None:
    async with asyncio.timeout(LOG_READ_TIMEOUT):
        part = await connection.console.part(name, start, LIMIT)
        restarted = part is not None and part.end < start
        return await connection.console.tail(name, LIMIT) if restarted else part


def complete_bytes(data: bytes) -> int:
    """The size of the complete lines of a part. What follows them, the next part begins with.

    A line longer than a part is divided, at a blank if it has one: a password in it is still redacted.
    """
    complete = 1 + max(data.rfind(b"\n"), data[:-1].rfind(b"\r"))
    if complete == 0 and len(data) >= LIMIT:
        return 1 + data.rfind(b" ") or len(data)
    return complete


def _after_lines(part: ConsolePart) -> Position:
    return Position("console", part.end - len(part.data) + complete_bytes(part.data))


def _from_word(log: bytes, offset: int) -> str:
    """A stored log from a position, or from the next word if that is within one."""
    text = log[offset:].decode(errors="ignore")
    is_the_end = len(log) > LIMIT - _LONGEST_CHARACTER  # of a longer log, which the VM has cut
    is_cut = log[offset - 1 : offset] not in WORD_ENDS if offset else is_the_end
    return after_cut(text) if is_cut else text


def _decoded(data: bytes) -> str:
    """Without NULs, which PostgreSQL rejects."""
    return data.decode(errors="replace").replace("\0", "")


def decode_tail(part: ConsolePart) -> str:
    """The end of a console log as text: at most LIMIT bytes, from the beginning of a word."""
    data = _decoded(part.data).encode()
    text = data[-LIMIT:].decode(errors="ignore")
    return after_cut(text) if part.begins_in_word or len(data) > LIMIT else text


def redact_password(text: str, uri: str) -> str:
    """Redact the database password, which a trial may print."""
    parts = urlsplit(uri)
    options = {value for name, value in parse_qsl(parts.query) if "password" in name}
    return redact(text, {unquote(parts.password or ""), *options} - {""})


def find_log(uri: str, experiment_id: int, runner_id: int) -> StoredLog | None:
    """The stored outcome and log of a VM, or None. Raises DatabaseUnreachable."""
    with transaction(uri, LOG_DATABASE_TIMEOUT, LOG_DATABASE_TIMEOUT) as cursor:
        if not may_read(cursor, "powerlift_fleet_runner"):
            return None
        found = rows(cursor, _FIND, (experiment_id, runner_id))
    return StoredLog(*found[0]) if found else None


def store_logs(uri: str, experiment_id: int, machines: Sequence[EndedVm]) -> None:
    """Store the outcomes and logs of VMs that did not store their own. Does nothing without the table.

    Raises DatabaseUnreachable, also if the role may not write the table.
    """
    values = [(experiment_id, vm.runner_id, vm.vm_name, vm.outcome, vm.log) for vm in machines]
    with transaction(uri, LOG_DATABASE_TIMEOUT, LOG_DATABASE_TIMEOUT) as cursor:
        [(exists,)] = rows(cursor, "SELECT to_regclass('powerlift_fleet_runner') IS NOT NULL")
        if exists:
            cursor.executemany(_KEEP, values)


# The limits count characters: what the app and honest VMs write has at most as many as bytes.
_FIND = f"""
    SELECT right(log, {LIMIT}), {short_outcome("outcome")}, exit_code, ended_at
    FROM powerlift_fleet_runner
    WHERE experiment_id = %s AND runner_id = %s
"""  # noqa: S608 - constants
_KEEP = """
    INSERT INTO powerlift_fleet_runner AS known
        (experiment_id, runner_id, vm_name, outcome, log, ended_at)
    VALUES (%s, %s, %s, %s, %s, now())
    ON CONFLICT (experiment_id, runner_id) DO UPDATE SET
        outcome = coalesce(known.outcome, EXCLUDED.outcome),
        ended_at = coalesce(known.ended_at, EXCLUDED.ended_at),
        log = coalesce(known.log, EXCLUDED.log)
"""


def _runner(order: FleetRef, ordinal: int) -> int:
    return names.runner_id(order["batch_id"], ordinal)


def _why(name: str, ending: str, fresh: Any, kept: Any) -> Iterator[str]:
    """Sentences that explain why there is no log."""
    if isinstance(fresh, ResourceNotFoundError):
        yield f"{name} does not exist (any more)."
    elif isinstance(fresh, BaseException):
        failure = describe(fresh)
        yield f"Cannot read the log of {name} from Azure: {failure['code']}: {failure['message']}"
    else:
        yield f"{name} has not booted yet."
    if isinstance(kept, DatabaseUnreachable):
        yield str(kept)
    elif ending:
        yield f"It {ending}. Its log was not stored."
    else:
        yield "The database has no log of it."
