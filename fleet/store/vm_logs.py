"""A VM's console log: from Azure while the VM exists, afterwards from the database.

A VM stores its log itself when it ends (`startup/`); for a failed VM, the app does. Both write to
`powerlift_fleet_runner`, and neither overwrites the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from azure.core.exceptions import ResourceNotFoundError

from fleet.azure.client import Azure
from fleet.azure.error_classifier import describe
from fleet.model import names
from fleet.model.order_parts import FleetRef
from fleet.redaction import redact
from fleet.store.database import DatabaseUnreachable, connected, may, rows, short_outcome
from fleet.store.executors import QUERIES

LIMIT = 32 * 1024
"""Bytes at the end of a log that are stored and shown, here and in `startup/`."""

LOG_READ_TIMEOUT = 5.0
"""Seconds to read a VM's log, which must not delay the VM's deletion."""
LOG_DATABASE_TIMEOUT = 3
"""Seconds to connect, and per statement, for the same reason."""


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


async def read_log(connection: Azure, uri: str, order: FleetRef, ordinal: int) -> str:
    """A VM's log: a line with its state, then the last LIMIT bytes of its console.

    The current log if the VM exists, else the stored one. Redacts the password of `uri`. Raises NoLog.
    """
    name = names.vm(order["batch_id"], ordinal)
    runner = names.runner_id(order["batch_id"], ordinal)
    fresh, kept = await asyncio.gather(
        fetch_console(connection, name),
        QUERIES.run(find_log, uri, order["experiment_id"], runner),
        return_exceptions=True,
    )
    if isinstance(kept, BaseException) and not isinstance(kept, DatabaseUnreachable):
        raise kept
    record = kept if isinstance(kept, StoredLog) else StoredLog(None, None, None, None)
    ending = record.ending()
    if isinstance(fresh, str):
        title, log = f"{name} {ending or 'is still running'}; current console log", fresh
    elif record.log is not None:
        title, log = f"{name} {ending}; stored console log", record.log
    else:
        raise NoLog(" ".join(_why(name, ending, fresh, kept)))
    return redact_password(f"# {title} (last {LIMIT // 1024} KB)\n{log}", uri)


async def fetch_console(connection: Azure, name: str) -> str | None:
    """The end of an existing VM's console log; None before its first boot.

    Raises HttpResponseError (404 if the VM is deleted), TimeoutError.
    """
    async with asyncio.timeout(LOG_READ_TIMEOUT):
        data = await connection.serial_log(name, LIMIT)
    return None if data is None else decode_tail(data)


def decode_tail(data: bytes) -> str:
    """The last LIMIT bytes of a console log as text without NULs, which PostgreSQL rejects."""
    text = data.decode(errors="replace").replace("\0", "")
    return text.encode()[-LIMIT:].decode(errors="ignore")


def redact_password(text: str, uri: str) -> str:
    """Redact the database password, which a trial may print."""
    parts = urlsplit(uri)
    options = {value for name, value in parse_qsl(parts.query) if "password" in name}
    return redact(text, {unquote(parts.password or ""), *options} - {""})


def find_log(uri: str, experiment_id: int, runner_id: int) -> StoredLog | None:
    """The stored outcome and log of a VM, or None. Raises DatabaseUnreachable."""
    with (
        connected(uri, LOG_DATABASE_TIMEOUT, LOG_DATABASE_TIMEOUT) as database,
        database.cursor() as cursor,
    ):
        if not may(cursor, "powerlift_fleet_runner", "SELECT"):
            return None
        found = rows(cursor, _FIND, (experiment_id, runner_id))
    return StoredLog(*found[0]) if found else None


def store_logs(uri: str, experiment_id: int, machines: Sequence[EndedVm]) -> None:
    """Store the outcomes and logs of VMs that did not store their own. Does nothing without the table.

    Raises DatabaseUnreachable, also if the role may not write the table.
    """
    values = [(experiment_id, vm.runner_id, vm.vm_name, vm.outcome, vm.log) for vm in machines]
    with (
        connected(uri, LOG_DATABASE_TIMEOUT, LOG_DATABASE_TIMEOUT) as database,
        database.cursor() as cursor,
    ):
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
