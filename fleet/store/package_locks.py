"""Locks of packages: that of a request in the app's database, those of a fleet in the benchmark's.

A fleet's VMs read and write `powerlift_fleet_lock` themselves (`fleet/vm/startup/74-lock.sh`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleet.model.failure import DescribedError
from fleet.model.order_parts import FleetRef
from fleet.model.requirements_lock import ARCHITECTURES, LONGEST_LOCK, digest, lock_key
from fleet.store.database import brief_transaction, may, may_read, rows, transaction


class LockNotStored(DescribedError, RuntimeError):
    """The lock of a request cannot be given to its VMs."""

    code, action = "LockNotStored", "fail_fleet"
    advice = (
        "Grant the role in uri SELECT and INSERT on powerlift_fleet_lock (docs/operating.md), or omit "
        "requirements_lock."
    )


@dataclass(frozen=True, slots=True)
class PackageLock:
    """What the VMs of one architecture install."""

    architecture: str
    """`x64` or `Arm64`."""
    digest: str
    requirements: str
    python: str | None
    """The version that it was resolved for; None for a lock of the request."""
    runner_id: int | None
    """The VM that resolved it; None for a lock of the request."""
    resolved_at: datetime | None


def keep(cursor: Any, batch_id: int, requirements: str) -> None:
    """Store the lock of a request, in the transaction of its claim."""
    cursor.execute(_KEEP, (batch_id, requirements))


def provide(own_uri: str, uri: str, order: FleetRef, expected: str) -> None:
    """Copy the lock of a request, with this digest, to where its VMs read it. Idempotent.

    Raises LockNotStored, DatabaseUnreachable.
    """
    with transaction(own_uri) as cursor:
        found = rows(cursor, _KEPT, (order["batch_id"],))
    if not found or digest(found[0][0]) != expected:
        raise LockNotStored("The app's database has lost the requirements_lock of this request.")
    with transaction(uri) as cursor:
        if not may(cursor, "powerlift_fleet_lock", "SELECT", "INSERT"):
            raise LockNotStored(
                "The benchmark's database has no powerlift_fleet_lock to which the app may write."
            )
        for key in _keys(order):
            cursor.execute(_PROVIDE, (key, expected, found[0][0]))


def find(uri: str, order: FleetRef) -> list[PackageLock]:
    """The locks of a fleet, by architecture; empty without the table. Raises DatabaseUnreachable."""
    keys = _keys(order)
    with brief_transaction(uri) as cursor:
        if not may_read(cursor, "powerlift_fleet_lock"):
            return []
        found = rows(cursor, _FIND, (list(keys),))
    locks = [PackageLock(keys[key], digest(text), text, *rest) for key, text, *rest in found]
    return sorted(locks, key=lambda one: one.architecture)


def purge(cursor: Any, order: FleetRef) -> None:
    """Delete the locks of a fleet, if the role may."""
    if may(cursor, "powerlift_fleet_lock", "SELECT", "DELETE"):
        cursor.execute(
            "DELETE FROM powerlift_fleet_lock WHERE key = ANY(%s)", (list(_keys(order)),)
        )


def _keys(order: FleetRef) -> dict[str, str]:
    return {lock_key(order["sealed"], one): one for one in ARCHITECTURES}


_KEEP = """
    INSERT INTO powerlift_fleet_requirements (batch_id, requirements) VALUES (%s, %s)
    ON CONFLICT (batch_id) DO UPDATE SET requirements = EXCLUDED.requirements
"""
# VMs of fleets without a uri may write the row.
_KEPT = f"""
    SELECT left(requirements, {LONGEST_LOCK}) FROM powerlift_fleet_requirements WHERE batch_id = %s
"""  # noqa: S608 - constants
_PROVIDE = """
    INSERT INTO powerlift_fleet_lock (key, digest, requirements) VALUES (%s, %s, %s)
    ON CONFLICT DO NOTHING
"""
# A VM of this fleet wrote the row: each value is limited.
_FIND = f"""
    SELECT key, left(requirements, {2 * LONGEST_LOCK}), left(python, 64), runner_id, resolved_at
    FROM powerlift_fleet_lock WHERE key = ANY(%s)
"""  # noqa: S608 - constants
