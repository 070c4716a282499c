"""Rows of `powerlift_fleet_writes`: the write budget that fleets share, whichever host they run on."""

from __future__ import annotations

import json

from fleet.model.order_parts import WritesOrder
from fleet.model.shared_budget import SharedBudget
from fleet.model.write_budget import Ask, Grant
from fleet.store import schema
from fleet.store.database import brief_transaction, rows, small_json

LIMIT = 128 * 1024
"""Characters of a budget. The app's own have up to 60,000."""
MAX_PRINCIPALS = 20
"""Principals of a subscription whose NICs are counted."""


def take(uri: str, principal: str, order: WritesOrder, ask: Ask) -> Grant:
    """Answer a fleet's ask from the budget of its principal and subscription, by the database's clock.

    `principal`: object ID. Locks the row for two short statements. Raises DatabaseUnreachable.
    """
    schema.prepare(uri)
    key = {"subscription": order["subscription_id"].lower(), "principal": principal}
    fleet = str(order["batch_id"])
    with brief_transaction(uri) as cursor:
        [(stored,)] = rows(cursor, _LOCK, key)
        # Read after the lock: while it waits, other fleets take writes.
        found = rows(cursor, _NOW, key)
        now = found[0][0]
        budget = SharedBudget.read(stored, now)
        rate = order["writes_per_second"]
        nics = sum(
            SharedBudget.read(other, now).writes.nics_sent(rate, now) for _, other in found if other
        )
        grant = budget.take(fleet, ask, order, now, other_nics=nics)
        cursor.execute(_WRITE, {**key, "budget": json.dumps(budget.write())})
    return grant


# Inserts the row, or locks the one that exists.
_LOCK = f"""
    INSERT INTO powerlift_fleet_writes AS mine (subscription_id, principal)
    VALUES (%(subscription)s, %(principal)s)
    ON CONFLICT (subscription_id, principal) DO UPDATE SET principal = mine.principal
    RETURNING {small_json("mine.budget", LIMIT)}
"""  # noqa: S608 - constants
_NOW = f"""
    SELECT clock_timestamp(), {small_json("budget", LIMIT)}
    FROM (SELECT) AS one LEFT JOIN powerlift_fleet_writes
      ON subscription_id = %(subscription)s AND principal <> %(principal)s
    LIMIT {MAX_PRINCIPALS}
"""  # noqa: S608 - constants
_WRITE = """
    UPDATE powerlift_fleet_writes SET budget = %(budget)s
    WHERE subscription_id = %(subscription)s AND principal = %(principal)s
"""
