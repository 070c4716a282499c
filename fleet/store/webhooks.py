"""The notifications that are due, from the table of fleets: so whatever ends a fleet also notifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fleet.store import schema
from fleet.store.database import brief_transaction, rows, small_json

AT_ONCE = 50
"""Notifications of one run."""
LEASE = 120.0
"""Seconds in which no other run sends a notification that this one has taken."""
FIRST_WAIT, LONGEST_WAIT = 30.0, 2 * 3600.0
"""Seconds from the first and from later failed tries to the next. Each wait is twice the one before."""
MAX_TRIES = 14
"""Over 12 hours."""

Event = Literal["fleet.failure", "fleet.ended"]


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification. `sealed` contains the URL of the fleet's webhook."""

    batch_id: int
    number: int
    name: str | None
    sealed: str
    tries: int
    """Including the one that its caller makes."""
    experiment_id: int
    experiment_name: str | None
    phase: str
    reason: dict[str, str] | None
    machines: dict[str, int] | None
    trials: dict[str, int] | None
    cost: float | None
    submitted_at: datetime
    ended_at: datetime | None

    @property
    def event(self) -> Event:
        return "fleet.ended" if self.ended_at else "fleet.failure"


def add(cursor: Any, batch_id: int, sealed: str) -> None:
    """Register the webhook of a fleet, in the transaction that claims it."""
    cursor.execute(
        "INSERT INTO powerlift_fleet_webhook (batch_id, sealed) VALUES (%s, %s)", (batch_id, sealed)
    )


def take(uri: str, owner: str) -> list[Notification]:
    """Take up to AT_ONCE due notifications of a deployment. Raises DatabaseUnreachable."""
    schema.prepare(uri)
    values = {"owner": owner, "limit": AT_ONCE, "lease": LEASE}
    with brief_transaction(uri) as cursor:
        cursor.execute(_COUNT_EARLIER_ERRORS, values)
        found = rows(cursor, _TAKE, values)
    return [Notification(int(batch_id), *rest) for batch_id, *rest in found]


def complete(uri: str, notification: Notification) -> None:
    """Record that a notification was sent, or is given up. Raises DatabaseUnreachable."""
    _execute(uri, _COMPLETE[notification.event], {"batch_id": notification.batch_id})


def abandon(uri: str, notification: Notification) -> None:
    """Send a fleet's webhook nothing more. Raises DatabaseUnreachable."""
    _execute(uri, _COMPLETE["fleet.ended"], {"batch_id": notification.batch_id})


def postpone(uri: str, notification: Notification) -> None:
    """Send a notification again later. Raises DatabaseUnreachable."""
    values = {"batch_id": notification.batch_id, "wait": wait(notification.tries)}
    _execute(uri, _POSTPONE, values)


def wait(tries: int) -> float:
    """Seconds from a failed try (1, 2, …) to the next."""
    return float(min(FIRST_WAIT * 2.0 ** (tries - 1), LONGEST_WAIT))


def _execute(uri: str, statement: str, values: Mapping[str, Any]) -> None:
    with brief_transaction(uri) as cursor:
        cursor.execute(statement, values)


# Another fleet of the experiment may have failed trials. VMs take longer to boot than a run to follow.
_COUNT_EARLIER_ERRORS = """
    UPDATE powerlift_fleet_webhook AS w SET errors_before = f.trials->'error'
    FROM powerlift_fleet AS f
    WHERE f.batch_id = w.batch_id AND f.owner = %(owner)s
    AND w.errors_before IS NULL AND f.trials->'error' IS NOT NULL
"""
# A failed VM or trial is a failure, also if the fleet recovers from it. A fleet that has ended needs no
# notification of its first failure any more, and its end does not wait for one. Skips rows with values
# that Python cannot represent.
_TAKE = f"""
    WITH due AS (
        SELECT w.batch_id FROM powerlift_fleet_webhook AS w JOIN powerlift_fleet AS f USING (batch_id)
        WHERE f.owner = %(owner)s AND w.batch_id <> 'NaN'
        AND f.submitted_at BETWEEN '0002-01-01' AND '9998-12-31'
        AND coalesce(f.ended_at, now()) BETWEEN '0002-01-01' AND '9998-12-31'
        AND (w.next_try_at <= now() OR (f.ended_at IS NOT NULL AND w.event = 'fleet.failure'))
        AND (f.ended_at IS NOT NULL
             OR (w.failure_sent_at IS NULL
                 AND (f.machines @? '$.failed ? (@ > 0)' OR f.trials->'error' > w.errors_before)))
        ORDER BY w.next_try_at LIMIT %(limit)s
        FOR UPDATE OF w SKIP LOCKED)
    UPDATE powerlift_fleet_webhook AS w
    SET tries = CASE WHEN ended_at IS NOT NULL AND event = 'fleet.failure' THEN 1 ELSE tries + 1 END,
        event = CASE WHEN ended_at IS NULL THEN 'fleet.failure' ELSE 'fleet.ended' END,
        next_try_at = now() + %(lease)s * interval '1 second'
    FROM due JOIN powerlift_fleet USING (batch_id)
    WHERE w.batch_id = due.batch_id
    RETURNING w.batch_id, number, left(name, 64), sealed, tries, experiment_id,
              left(experiment_name, 256), left(phase, 64), {small_json("reason")},
              {small_json("machines")}, {small_json("trials")}, cost, submitted_at, ended_at
"""  # noqa: S608 - constants
_COMPLETE: dict[Event, str] = {
    "fleet.failure": """
        UPDATE powerlift_fleet_webhook
        SET failure_sent_at = now(), event = NULL, tries = 0, next_try_at = now()
        WHERE batch_id = %(batch_id)s
    """,
    "fleet.ended": "DELETE FROM powerlift_fleet_webhook WHERE batch_id = %(batch_id)s",
}
_POSTPONE = """
    UPDATE powerlift_fleet_webhook SET next_try_at = now() + %(wait)s * interval '1 second'
    WHERE batch_id = %(batch_id)s
"""
