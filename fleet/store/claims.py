"""Which request owns a batch id, and who may start its fleet: a row in the app's own database.

The task hub cannot decide this: two starts of one instance at the same time both succeed there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg2.errors import LockNotAvailable

from fleet.store import schema
from fleet.store.database import REQUEST_TIMEOUT, DatabaseUnreachable, connected, rows

SHORT = 1_000_000
"""Batch ids below this are short enough to be the fleet's number as well."""

IDLE_SECONDS = 30
"""A lease whose holder does nothing in the database for so long is ended by the server."""


class AlreadyUsed(Exception):
    """A batch id, an idempotency key or a name that belongs to another fleet."""


class LeaseHeld(Exception):
    """Another request is starting something of this fleet at this moment."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a request claims. `callers` and `fingerprints` hold one digest per sealing key, the newest
    first: a row that was written under an older key is recognized too."""

    batch_id: int
    callers: Sequence[str]
    idempotency_key: str | None
    fingerprints: Sequence[str]
    name: str | None
    experiment_id: int
    n_instances: int
    account: str
    """Subscription, resource group and client id: fleets of one account are deleted by one identity."""
    resource_uris: Sequence[str]

    @property
    def key(self) -> str | None:
        """The idempotency key as the table has it: of one length, however long the header was."""
        if self.idempotency_key is None:
            return None
        # A header may hold any bytes; those that are not UTF-8 come as half surrogate pairs.
        return hashlib.sha256(self.idempotency_key.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Claim:
    """The row of a request's fleet: `started` once its orchestration exists."""

    batch_id: int
    number: int
    started: bool


def claim(uri: str, submission: Submission) -> Claim:
    """The fleet of a request: the one that an equal request has claimed before, or a new row.

    Raises AlreadyUsed where batch id, idempotency key or name belong to another fleet, SchemaTooNew,
    DatabaseUnreachable.
    """
    _prepare(uri)
    with connected(uri, REQUEST_TIMEOUT, REQUEST_TIMEOUT) as database, database.cursor() as cursor:
        found = _claimed(cursor, submission)
        if found is None:
            # One new fleet at a time, so that no number is given twice.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('powerlift_fleet_number'))")
            found = _claimed(cursor, submission) or _added(cursor, submission)
        if found is None:
            raise AlreadyUsed(
                f"A fleet named {submission.name!r} is running. Cancel it, or choose another name."
            )
        return found


class Lease:
    """The exclusive right to start something of one fleet, for as long as the transaction lasts."""

    def __init__(self, cursor: Any, batch_id: int, started: bool) -> None:
        self._cursor, self._batch_id, self.started = cursor, batch_id, started

    def mark_started(self) -> None:
        self._cursor.execute(
            "UPDATE powerlift_fleet SET started_at = coalesce(started_at, now()) WHERE batch_id = %s",
            (self._batch_id,),
        )


@contextmanager
def leased(uri: str, batch_id: int) -> Iterator[Lease | None]:
    """Lock a fleet's row. None where there is no row; nothing waits for a lock.

    The server releases it when this process dies. Raises LeaseHeld, DatabaseUnreachable.
    """
    with connected(uri, REQUEST_TIMEOUT, REQUEST_TIMEOUT) as database, database.cursor() as cursor:
        cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        try:
            found = rows(cursor, _LEASE, (batch_id,))
        except LockNotAvailable:
            raise LeaseHeld(f"Another request is starting fleet-{batch_id}.") from None
        yield Lease(cursor, batch_id, found[0][0]) if found else None


def _prepare(uri: str) -> None:
    """Migrate the app's tables once in a process. Raises DatabaseUnreachable where that cannot be."""
    if uri in _prepared:
        return
    if schema.migrate(uri, schema.APP) < schema.APP.latest:
        raise DatabaseUnreachable(
            "The app's database (POWERLIFT_DB_URI) lacks the table powerlift_fleet, and its role may "
            "not create it. Grant the role CREATE on the schema, or let the tables' owner start a fleet."
        )
    _prepared.add(uri)


_prepared: set[str] = set()


def _claimed(cursor: Any, submission: Submission) -> Claim | None:
    """The row that a request's batch id or idempotency key names. Raises AlreadyUsed."""
    for batch_id, number, started, fingerprint, same_key in rows(
        cursor, _FIND, _columns(submission)
    ):
        if fingerprint in submission.fingerprints:
            return Claim(int(batch_id), number, started)
        what = "This Idempotency-Key" if same_key else f"batch_id {batch_id}"
        raise AlreadyUsed(
            f"{what} was already used by a different request (fleet-{number}). Repeat that request "
            "unchanged, or leave it out to get a new fleet."
        )
    return None


def _added(cursor: Any, submission: Submission) -> Claim | None:
    """A new row; None where its name belongs to a fleet that has not ended. Raises AlreadyUsed."""
    number = _new_number(cursor, submission)
    cursor.execute(_INSERT, {**_columns(submission), "number": number})
    return Claim(submission.batch_id, number, started=False) if cursor.rowcount else None


def _new_number(cursor: Any, submission: Submission) -> int:
    """A number that is neither another fleet's number nor its batch id."""
    batch_id = submission.batch_id
    if rows(cursor, "SELECT 1 FROM powerlift_fleet WHERE number = %s", (batch_id,)):
        raise AlreadyUsed(
            f"batch_id {batch_id} is the number of another fleet (fleet-{batch_id}). Choose another "
            "batch_id, or leave it out."
        )
    if batch_id < SHORT:
        return batch_id
    while True:
        [(number,)] = rows(cursor, "SELECT nextval('powerlift_fleet_number')")
        if not rows(cursor, _IS_USED, {"number": number}):
            return int(number)


def _columns(submission: Submission) -> dict[str, Any]:
    return {
        "batch_id": submission.batch_id,
        "caller": submission.callers[0],
        "callers": list(submission.callers),
        "key": submission.key,
        "fingerprint": submission.fingerprints[0],
        "name": submission.name,
        "experiment_id": submission.experiment_id,
        "n_instances": submission.n_instances,
        "account": submission.account,
        "resource_uris": list(submission.resource_uris),
    }


_FIND = """
    SELECT batch_id, number, started_at IS NOT NULL, fingerprint,
           coalesce(idempotency_key = %(key)s, false)
    FROM powerlift_fleet
    WHERE batch_id = %(batch_id)s OR (caller = ANY(%(callers)s) AND idempotency_key = %(key)s)
    ORDER BY 5 DESC
"""
_INSERT = """
    INSERT INTO powerlift_fleet (batch_id, number, name, caller, idempotency_key, fingerprint,
                                 experiment_id, n_instances, account, resource_uris)
    VALUES (%(batch_id)s, %(number)s, %(name)s, %(caller)s, %(key)s, %(fingerprint)s,
            %(experiment_id)s, %(n_instances)s, %(account)s, %(resource_uris)s)
    ON CONFLICT DO NOTHING
"""
_IS_USED = "SELECT 1 FROM powerlift_fleet WHERE number = %(number)s OR batch_id = %(number)s"
_LEASE = "SELECT started_at IS NOT NULL FROM powerlift_fleet WHERE batch_id = %s FOR UPDATE NOWAIT"
