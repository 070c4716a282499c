"""What a deployment's fleets cost in the calendar month (UTC), and FLEET_BUDGET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.model.costs import money
from fleet.model.failure import DescribedError
from fleet.store import schema
from fleet.store.database import brief_transaction, rows


class BudgetExceeded(DescribedError, RuntimeError):
    """A fleet might exceed the deployment's budget."""

    code, action = "BudgetExceeded", "fail_fleet"
    advice = (
        "Lower max_cost or max_lifetime, use fewer or cheaper VMs, or wait until other fleets or the "
        "month have ended. The administrator decides with the setting FLEET_BUDGET."
    )


class NotReserved(DescribedError, RuntimeError):
    """The fleet's row does not exist, or says that the fleet has ended."""

    code, action = "BudgetNotReserved", "fail_fleet"
    advice = (
        "Submit the fleet again. If this repeats, ask the administrator who may write the table "
        "powerlift_fleet."
    )


def check(committed: float, at_most: float, budget: float) -> str:
    """How a fleet fits into the budget. Raises BudgetExceeded."""
    text = (
        f"{money(committed)} of this month's {money(budget)} are spent or reserved (FLEET_BUDGET); the "
        f"fleet may cost {money(at_most)}"
    )
    if committed + at_most > budget:
        raise BudgetExceeded(f"{text}.")
    return text


def committed(uri: str, owner: str) -> float:
    """US dollars that a deployment's fleets have cost this month, or may still cost.

    Raises DatabaseUnreachable.
    """
    schema.prepare(uri)
    with brief_transaction(uri) as cursor:
        return _committed(cursor, {"owner": owner, "batch_id": None})


def reserve(
    uri: str, owner: str, batch_id: int, at_most: float | None, budget: float | None
) -> None:
    """Record what a fleet may cost. With a budget, raises BudgetExceeded if it might exceed it, and
    NotReserved if it cannot be recorded: without a record, the fleet would not count.

    Idempotent. Raises DatabaseUnreachable.
    """
    schema.prepare(uri)
    values = {"owner": owner, "batch_id": batch_id, "at_most": at_most}
    with brief_transaction(uri) as cursor:
        if budget is not None:
            # One fleet at a time: no two exceed the budget together. As in `claims`.
            cursor.execute("LOCK TABLE powerlift_fleet IN SHARE UPDATE EXCLUSIVE MODE")
            check(_committed(cursor, values), at_most or 0.0, budget)
        cursor.execute(_RESERVE, values)
        if budget is not None and not cursor.rowcount:
            raise NotReserved(
                f"The row of batch {batch_id} in powerlift_fleet is missing or ended, so the fleet "
                "could not reserve its cost (FLEET_BUDGET). Nothing was created."
            )


def _committed(cursor: Any, values: Mapping[str, Any]) -> float:
    [(total,)] = rows(cursor, _COMMITTED, values)
    return float(total)


# A fleet counts with its cost once it has ended without VMs, until then with what it may cost at most.
# Its month is that of its end; VMs that it keeps count until their deadline. An invalid amount counts as
# none.
_COMMITTED = """
    SELECT coalesce(sum(amount) FILTER (WHERE amount > 0 AND amount < 'Infinity'), 0)
    FROM (SELECT CASE WHEN ended_at IS NULL OR coalesce(machines->>'running', '0') <> '0'
                          THEN reserved_cost
                      WHEN machines->>'accepted' = '0' THEN 0
                      WHEN cost >= 0 AND cost < 'Infinity' THEN cost
                      ELSE reserved_cost END AS amount
          FROM powerlift_fleet
          WHERE owner = %(owner)s AND batch_id IS DISTINCT FROM %(batch_id)s
            AND reserved_cost IS NOT NULL
            AND CASE WHEN coalesce(machines->>'running', '0') <> '0'
                     THEN greatest(ended_at, least(deadline, now())) ELSE coalesce(ended_at, now()) END
                >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') AS fleets
"""
_RESERVE = """
    UPDATE powerlift_fleet SET reserved_cost = %(at_most)s
    WHERE batch_id = %(batch_id)s AND owner = %(owner)s AND ended_at IS NULL
"""
