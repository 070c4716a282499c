"""Rows of `powerlift_fleet`, until their fleet has started: claims of requests, and leases.

A claim decides which request a batch ID belongs to. A lease decides who may start its fleet. The task
hub cannot decide this: two concurrent starts of one instance both succeed. `fleets` updates the rows
of started fleets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from psycopg2.errors import LockNotAvailable

from fleet.store import package_locks, schema, webhooks
from fleet.store.database import brief_transaction, may_read, rows, transaction

TOO_MANY_ADVICE = "Wait until other fleets have ended, cancel one, or request fewer VMs."

NAMED_ADVICE = "Cancel it, or choose another name."

SHORT = 1_000_000
"""A batch ID below this is also the fleet's number."""

SEQUENCE_END = 2**52
"""Maximum number that the app assigns: JSON numbers are exact up to 2^53."""


class AlreadyUsed(Exception):
    """The batch ID, idempotency key or name belongs to another fleet."""


class TooManyVms(Exception):
    """The fleet would exceed the deployment's limit of VMs before other fleets have ended."""


class ExperimentBusy(Exception):
    """Another fleet works on the experiment, or is about to."""


class LeaseHeld(Exception):
    """Another request has the fleet's lease."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What a request claims. `submitters` and `fingerprints` contain one digest per sealing key, the
    newest first, so that rows written with an older key match too."""

    owner: str
    """The deployment, as in `Settings.owner`."""
    batch_id: int
    chose_batch_id: bool
    """Whether the request set the batch ID; otherwise the app generated it."""
    submitters: Sequence[str]
    idempotency_key: str | None
    fingerprints: Sequence[str]
    name: str | None
    experiment_id: int
    n_instances: int
    max_lifetime: float
    """Seconds."""
    account: str
    """Digest of the identity, subscription and resource group with which its resources are deleted."""
    resource_uris: Sequence[str]
    webhook: str | None
    """The sealed URL of its webhook."""
    request: str
    """The request as JSON, without its secrets."""
    request_signature: str
    databases: Sequence[str]
    """Digests of the benchmark's database, one per sealing key, the newest first."""
    max_vms: int
    """Maximum VMs of all the deployment's fleets together."""
    is_exclusive: bool = False
    """Whether no other fleet may work on the experiment."""
    requirements_lock: str | None = None

    @property
    def key(self) -> str | None:
        """The idempotency key as it is stored: a digest, because the header's length is unlimited."""
        if self.idempotency_key is None:
            return None
        # A header may contain any bytes; invalid UTF-8 arrives as lone surrogates.
        return hashlib.sha256(self.idempotency_key.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Claim:
    """The row of a request's fleet: `started` once its orchestration exists."""

    batch_id: int
    number: int
    started: bool
    counts: bool = True
    """Whether its VMs count as alive: not those of an abandoned claim."""


def claim(uri: str, submission: Submission) -> Claim:
    """Claim the fleet of a request: the row of an earlier identical request, or a new one.

    Raises AlreadyUsed if the batch ID, idempotency key or name belongs to another fleet, TooManyVms,
    ExperimentBusy, SchemaTooNew, DatabaseUnreachable.
    """
    schema.prepare(uri)
    with brief_transaction(uri) as cursor:
        found = _claimed(cursor, submission)
        if found is None or not found.counts:
            # One new fleet at a time: no two get the same number, or exceed the limit together.
            cursor.execute(_LOCK)
            found = _claimed(cursor, submission)
        if found is not None and found.counts:
            return found
        _check_experiment(cursor, submission)
        _check_vm_limit(cursor, submission)
        if found is None:
            return _added(cursor, submission)
        cursor.execute(_RENEW, {**_columns(submission), "batch_id": found.batch_id})
        return found


def named(name: str | None) -> str:
    """Why a request with the name of a running fleet is refused."""
    return f"A fleet named {name!r} is running."


class Lease:
    """The exclusive right to start a fleet or its teardown, for the duration of a transaction."""

    def __init__(self, cursor: Any, batch_id: int, started: bool) -> None:
        self._cursor, self._batch_id, self.started = cursor, batch_id, started

    def mark_started(self) -> None:
        self._cursor.execute(
            "UPDATE powerlift_fleet SET started_at = coalesce(started_at, now()) WHERE batch_id = %s",
            (self._batch_id,),
        )


@contextmanager
def leased(uri: str, batch_id: int) -> Iterator[Lease | None]:
    """Lock a fleet's row without waiting; None if there is no row.

    The server releases the lock if this process dies, or after IDLE_TIMEOUT. Raises LeaseHeld,
    DatabaseUnreachable.
    """
    with brief_transaction(uri) as cursor:
        try:
            found = rows(cursor, _LEASE, (batch_id,))
        except LockNotAvailable:
            raise LeaseHeld(f"Another request is starting fleet-{batch_id}.") from None
        yield Lease(cursor, batch_id, found[0][0]) if found else None


def _claimed(cursor: Any, submission: Submission) -> Claim | None:
    """The row with a request's batch ID or idempotency key. Raises AlreadyUsed."""
    for batch_id, number, started, counts, fingerprint, same_key in rows(
        cursor, _FIND, _columns(submission)
    ):
        same_batch = batch_id == submission.batch_id or not submission.chose_batch_id
        if fingerprint in submission.fingerprints and same_batch:
            return Claim(int(batch_id), number, started, counts)
        what = "This Idempotency-Key" if same_key else f"batch_id {batch_id}"
        raise AlreadyUsed(
            f"{what} was already used by a different request (fleet-{number}). Repeat that request "
            "unchanged, or omit the key and the batch_id to start a new fleet."
        )
    return None


def abandoned(uri: str, owner: str) -> list[int]:
    """The batch IDs of claims older than a day whose fleet is not marked as started.

    Raises DatabaseUnreachable.
    """
    schema.prepare(uri)
    with transaction(uri) as cursor:
        return [int(batch_id) for (batch_id,) in rows(cursor, _ABANDONED, {"owner": owner})]


def exists(uri: str, batch_id: int) -> bool:
    """Whether a batch ID is claimed. Raises DatabaseUnreachable."""
    schema.prepare(uri)
    with brief_transaction(uri) as cursor:
        return bool(rows(cursor, _EXISTS, (batch_id,)))


def delete(uri: str, batch_id: int) -> None:
    """Delete a claim, unless its fleet has started in the meantime. Raises DatabaseUnreachable."""
    with transaction(uri) as cursor:
        cursor.execute(
            "DELETE FROM powerlift_fleet WHERE batch_id = %s AND started_at IS NULL"
            " AND EXISTS (SELECT FROM powerlift_fleet WHERE batch_id = %s FOR UPDATE SKIP LOCKED)",
            (batch_id, batch_id),
        )


def count_alive(uri: str, owner: str) -> int:
    """The VMs of a deployment's fleets, as `claim` counts them. Raises DatabaseUnreachable."""
    with brief_transaction(uri) as cursor:
        if not may_read(cursor, "powerlift_fleet"):
            return 0  # no fleet was ever submitted
        [(alive,)] = rows(cursor, _ALIVE, {"owner": owner})
    return int(alive)


def is_named(uri: str, name: str, batch_id: int) -> bool:
    """Whether another batch's fleet that has not ended has a name. Raises DatabaseUnreachable."""
    with brief_transaction(uri) as cursor:
        if not may_read(cursor, "powerlift_fleet"):
            return False  # no fleet was ever submitted
        return bool(rows(cursor, _NAMED, {"name": name, "batch_id": batch_id}))


def other_fleets(
    uri: str, experiment_id: int, batch_id: int, databases: Sequence[str]
) -> list[str]:
    """The other fleets that run an experiment, the oldest first: `fleet-8 (its name)`.

    Not those that are torn down. `databases` as in Submission. Raises DatabaseUnreachable.
    """
    values = {"experiment_id": experiment_id, "batch_id": batch_id, "databases": list(databases)}
    with brief_transaction(uri) as cursor:
        if not may_read(cursor, "powerlift_fleet"):
            return []  # no fleet was ever submitted
        return [_label(number, name) for number, name in rows(cursor, _RUNNING, values)]


def _check_vm_limit(cursor: Any, submission: Submission) -> None:
    [(alive,)] = rows(cursor, _ALIVE, _columns(submission))
    if alive + submission.n_instances > submission.max_vms:
        raise TooManyVms(
            f"{alive} VMs exist or are requested, and {submission.n_instances} more would exceed the "
            f"{submission.max_vms} of the deployment's setting FLEET_MAX_VMS. The fleet was not "
            f"started. {TOO_MANY_ADVICE}"
        )


def _check_experiment(cursor: Any, submission: Submission) -> None:
    if not submission.is_exclusive:
        return
    for number, name in rows(cursor, _AT_WORK, _columns(submission)):
        raise ExperimentBusy(
            f"{_label(number, name)} works on experiment {submission.experiment_id}, whose failed "
            "trials would be reset. Nothing was changed. Wait until it has ended, or cancel it."
        )


def _label(number: int, name: str | None) -> str:
    return f"fleet-{number} ({name})" if name else f"fleet-{number}"


def _added(cursor: Any, submission: Submission) -> Claim:
    """Insert a row. Raises AlreadyUsed, also if a fleet that has not ended has its name."""
    number = _new_number(cursor, submission)
    cursor.execute(_INSERT, {**_columns(submission), "number": number})
    if not cursor.rowcount:
        raise AlreadyUsed(f"{named(submission.name)} {NAMED_ADVICE}")
    if submission.webhook:
        webhooks.add(cursor, submission.batch_id, submission.webhook)
    if submission.requirements_lock:
        package_locks.keep(cursor, submission.batch_id, submission.requirements_lock)
    return Claim(submission.batch_id, number, started=False)


def _new_number(cursor: Any, submission: Submission) -> int:
    """A number that is neither the number nor the batch ID of another fleet."""
    batch_id = submission.batch_id
    if rows(cursor, "SELECT 1 FROM powerlift_fleet WHERE number = %s", (batch_id,)):
        raise AlreadyUsed(
            f"batch_id {batch_id} is the number of another fleet (fleet-{batch_id}). Choose another "
            "batch_id, or omit it."
        )
    if batch_id < SHORT:
        return batch_id
    [(number,)] = rows(cursor, _NEXT_NUMBER, {"short": SHORT, "end": SEQUENCE_END})
    return int(number)


def _columns(submission: Submission) -> dict[str, Any]:
    return {
        **asdict(submission),
        "submitted_by": submission.submitters[0],
        "submitters": list(submission.submitters),  # psycopg2 takes only a list for an array
        "key": submission.key,
        "fingerprint": submission.fingerprints[0],
        "resource_uris": list(submission.resource_uris),
        "database": submission.databases[0],
        "databases": list(submission.databases),
    }


_FIND = """
    SELECT batch_id, number, started_at IS NOT NULL,
           started_at IS NOT NULL OR submitted_at > now() - interval '1 hour',
           left(fingerprint, 128),
           coalesce(idempotency_key = %(key)s, false)
    FROM powerlift_fleet
    WHERE batch_id = %(batch_id)s OR (submitted_by = ANY(%(submitters)s) AND idempotency_key = %(key)s)
    ORDER BY 6 DESC
"""
# Not an advisory lock, which any session of the database may take: this one requires write access to
# the table. Leases and the updates of running fleets do not conflict with it.
_LOCK = "LOCK TABLE powerlift_fleet IN SHARE UPDATE EXCLUSIVE MODE"
# The VMs of fleets that have not ended, and the VMs that ended fleets have left: on request
# (delete_on_complete false), or because the teardown failed. An hour after the row's deadline, no VM
# exists: a fleet's deadline is slightly later than the row's. A claim without a fleet counts for an
# hour, in which clients retry. An invalid row counts for at most the VMs that it claims, so it affects
# no other fleet.
_ALIVE = """
    SELECT coalesce(sum(least(claimed, CASE
        WHEN ended_at IS NULL AND machines->>'wanted' ~ '^[0-9]{1,9}$'
        THEN (machines->>'wanted')::integer
        WHEN ended_at IS NULL THEN claimed
        WHEN machines->>'running' ~ '^[0-9]{1,9}$' THEN (machines->>'running')::integer
        ELSE 0 END)), 0)
    FROM powerlift_fleet CROSS JOIN LATERAL (SELECT greatest(n_instances, 0) AS claimed) AS its
    WHERE owner = %(owner)s AND deadline > now() - interval '1 hour'
    AND (started_at IS NOT NULL OR submitted_at > now() - interval '1 hour')
"""
_NAMED = """
    SELECT FROM powerlift_fleet
    WHERE name = %(name)s AND ended_at IS NULL AND batch_id <> %(batch_id)s
"""
# Claims without a fleet, and rows after their deadline, as in _ALIVE. Rows of earlier builds do not say
# which database: they count as of this one.
_OF_EXPERIMENT = """
    SELECT number, left(name, 64) FROM powerlift_fleet
    WHERE experiment_id = %(experiment_id)s AND batch_id <> %(batch_id)s AND ended_at IS NULL
      AND (started_at IS NOT NULL OR submitted_at > now() - interval '1 hour')
      AND deadline > now() - interval '1 hour'
      AND coalesce(database_digest = ANY(%(databases)s), true)
"""
_AT_WORK = f"{_OF_EXPERIMENT} ORDER BY submitted_at LIMIT 1"
_RUNNING = f"""{_OF_EXPERIMENT} AND started_at IS NOT NULL AND phase <> 'teardown'
    ORDER BY submitted_at LIMIT 100"""
_RENEW = """
    UPDATE powerlift_fleet
    SET submitted_at = now(), deadline = now() + %(max_lifetime)s * interval '1 second'
    WHERE batch_id = %(batch_id)s AND started_at IS NULL
"""
_INSERT = """
    INSERT INTO powerlift_fleet (owner, batch_id, number, name, submitted_by, idempotency_key,
                                 fingerprint, experiment_id, n_instances, account, resource_uris,
                                 request, request_signature, database_digest, deadline)
    VALUES (%(owner)s, %(batch_id)s, %(number)s, %(name)s, %(submitted_by)s, %(key)s,
            %(fingerprint)s, %(experiment_id)s, %(n_instances)s, %(account)s, %(resource_uris)s,
            %(request)s, %(request_signature)s, %(database)s,
            now() + %(max_lifetime)s * interval '1 second')
    ON CONFLICT DO NOTHING
"""
# The first free number after the last one. If somebody has set the sequence to its end, it continues
# after the largest short number.
_NEXT_NUMBER = """
    WITH last AS (SELECT CASE WHEN last_value < %(end)s THEN last_value + is_called::integer
                         ELSE (SELECT coalesce(max(number), 0) + 1 FROM powerlift_fleet
                               WHERE number < %(short)s) END AS value
                  FROM powerlift_fleet_number),
         free AS (SELECT n FROM last, generate_series(value, value + 100000) AS n
                  WHERE NOT EXISTS (SELECT FROM powerlift_fleet WHERE number = n OR batch_id = n)
                  ORDER BY n LIMIT 1)
    SELECT setval('powerlift_fleet_number', n) FROM free
"""
_EXISTS = "SELECT 1 FROM powerlift_fleet WHERE batch_id = %s"
_LEASE = "SELECT started_at IS NOT NULL FROM powerlift_fleet WHERE batch_id = %s FOR UPDATE NOWAIT"
_ABANDONED = """
    SELECT batch_id FROM powerlift_fleet
    WHERE started_at IS NULL AND submitted_at < now() - interval '1 day' AND owner = %(owner)s
      AND batch_id <> 'NaN' LIMIT 1000
"""
