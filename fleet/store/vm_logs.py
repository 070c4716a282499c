"""What a VM's console has said: from Azure while the VM stands, from the database ever after.

A VM keeps the tail of its console itself when it ends (`startup.sh`); for one that cannot, the app does.
Both write to `powerlift_fleet_runner`, and neither overwrites what the other has written.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote_plus, unquote, urlsplit

from azure.core.exceptions import ResourceNotFoundError

from fleet.azure.client import Azure
from fleet.azure.errors import describe
from fleet.model import names
from fleet.model.records import Order
from fleet.store.database import DatabaseUnreachable, connected, may, rows

LIMIT = 32 * 1024
"""Bytes of a log that are kept and shown: its end. `startup.sh` keeps as many."""

AZURE_PATIENCE = 5.0
"""Seconds for a VM's log: it must not hold up the VM's deletion."""
DATABASE_PATIENCE = 3
"""Seconds, once to connect and once for each statement, for the same reason."""


class NoLog(Exception):
    """No log is known of a VM; the text says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A VM's end, to be kept for when the VM is gone."""

    runner_id: int
    vm_name: str
    outcome: str
    log: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """What the database has of a VM; None for what it does not know."""

    log: str | None
    outcome: str | None
    exit_code: int | None
    ended_at: datetime | None

    def ending(self) -> str:
        """How and when the VM ended, in one line; empty where that is not known."""
        if self.outcome is None and self.ended_at is None:
            return ""
        how = " ".join((self.outcome or "for no reason that is known").split())
        code = "" if self.exit_code is None else f" (exit code {self.exit_code})"
        when = f" at {self.ended_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if self.ended_at else ""
        return f"ended{when}: {how}{code}"


async def of_machine(connection: Azure, uri: str, order: Order, ordinal: int) -> str:
    """A VM's log: a first line that tells how it ended, then the last LIMIT bytes of its console.

    As it is now where the VM stands, else as it was kept. Raises NoLog. No password of `uri` is in it.
    """
    name = names.vm(order["batch_id"], ordinal)
    runner = names.runner_id(order["batch_id"], ordinal)
    fresh, kept = await asyncio.gather(
        fetch(connection, name),
        asyncio.to_thread(find, uri, order["experiment_id"], runner),
        return_exceptions=True,
    )
    if isinstance(kept, BaseException) and not isinstance(kept, DatabaseUnreachable):
        raise kept
    record = kept if isinstance(kept, Record) else Record(None, None, None, None)
    ending = record.ending()
    if isinstance(fresh, str):
        title, log = f"{name} {ending or 'has not ended'}; its console as Azure has it now", fresh
    elif record.log is not None:
        title, log = f"{name} {ending}; its console as it was then", record.log
    else:
        raise NoLog(" ".join(_why(name, ending, fresh, kept)))
    return without_password(f"# {title} (the last {LIMIT // 1024} KB)\n{log}", uri)


async def fetch(connection: Azure, name: str) -> str | None:
    """The tail of a standing VM's console; None before its first boot.

    Raises HttpResponseError (404 when it is gone), TimeoutError.
    """
    async with asyncio.timeout(AZURE_PATIENCE):
        data = await connection.serial_log(name, LIMIT)
    return None if data is None else text_of(data)


def text_of(data: bytes) -> str:
    """The end of what a console has said, as text that PostgreSQL takes: LIMIT bytes in UTF-8."""
    text = data.decode(errors="replace").replace("\0", "")
    return text.encode()[-LIMIT:].decode(errors="ignore")


def without_password(text: str, uri: str) -> str:
    """The text without the database's password: the VM has it, and trials may print what they like."""
    parts = urlsplit(uri)
    options = {value for name, value in parse_qsl(parts.query) if "password" in name}
    for hidden in {unquote(parts.password or ""), *options} - {""}:
        text = re.sub("".join(map(_in_any_form, hidden)), "***", text, flags=re.IGNORECASE)
    return text


def _in_any_form(character: str) -> str:
    """A pattern for a character of a password, as it is or as URIs write it."""
    encoded = "".join(f"%{byte:02x}" for byte in character.encode())
    return f"(?:{re.escape(character)}|{encoded}|{re.escape(quote_plus(character))})"


def find(uri: str, experiment_id: int, runner_id: int) -> Record | None:
    """What the database has of a VM, or None. Raises DatabaseUnreachable."""
    with (
        connected(uri, DATABASE_PATIENCE, DATABASE_PATIENCE) as database,
        database.cursor() as cursor,
    ):
        if not may(cursor, "powerlift_fleet_runner", "SELECT"):
            return None
        found = rows(cursor, _FIND, (experiment_id, runner_id))
    return Record(*found[0]) if found else None


def keep(uri: str, experiment_id: int, machines: Sequence[Kept]) -> None:
    """Write down how VMs ended, where they have not done so themselves. Does nothing without the table.

    Raises DatabaseUnreachable, also where the role may not write the table.
    """
    values = [(experiment_id, vm.runner_id, vm.vm_name, vm.outcome, vm.log) for vm in machines]
    with (
        connected(uri, DATABASE_PATIENCE, DATABASE_PATIENCE) as database,
        database.cursor() as cursor,
    ):
        [(exists,)] = rows(cursor, "SELECT to_regclass('powerlift_fleet_runner') IS NOT NULL")
        if exists:
            cursor.executemany(_KEEP, values)


_FIND = """
    SELECT log, outcome, exit_code, ended_at FROM powerlift_fleet_runner
    WHERE experiment_id = %s AND runner_id = %s
"""
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
    """Why neither Azure nor the database has a log, in sentences."""
    if isinstance(fresh, ResourceNotFoundError):
        yield f"{name} is not there (any more)."
    elif isinstance(fresh, BaseException):
        told = describe(fresh)
        yield f"Azure does not give the log of {name}: {told['code']}: {told['message']}"
    else:
        yield f"{name} has not booted yet."
    if isinstance(kept, DatabaseUnreachable):
        yield str(kept)
    elif ending:
        yield f"It {ending}. No log of it was kept."
    else:
        yield "It has left no log in the database."
