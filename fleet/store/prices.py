"""Azure's list prices in the app's own database: found ones for a day, failed tries for minutes.

Prices are signed with the sealing key. VMs may have the role that owns the table, and a lower price
would let fleets cost more than the deployment allows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg2.extras import execute_values

from fleet.secrets import Seal
from fleet.store import schema
from fleet.store.database import brief_transaction, rows

FRESH_HOURS = 24
RETRY_MINUTES = 10
"""How long a failed try keeps the others from trying."""
STALE_DAYS = 7
"""How long a price is used if no newer one can be read."""


@dataclass(frozen=True, slots=True)
class StoredPrice:
    """US dollars per hour; None: none was found."""

    price: float | None
    due: bool
    """Whether to ask again."""


def read(uri: str, keys: Collection[str], seal: Seal) -> dict[str, StoredPrice]:
    """The stored prices, by key. Raises DatabaseUnreachable."""
    schema.prepare(uri)
    limits = {
        "keys": list(keys), "hours": FRESH_HOURS, "minutes": RETRY_MINUTES, "days": STALE_DAYS,
    }  # fmt: skip
    with brief_transaction(uri) as cursor:
        found = rows(cursor, _READ, limits)
    return {
        key: StoredPrice(price, due)
        for key, price, found_at, signature, due in found
        if price is None or seal.has_signed(_signed(key, price, found_at), signature)
    }


def write(uri: str, found: Mapping[str, float | None], seal: Seal) -> None:
    """Store what was found. None keeps a price found earlier. Raises DatabaseUnreachable."""
    schema.prepare(uri)
    now = datetime.now(UTC)
    new = [
        (key, price, now, seal.fingerprints(_signed(key, price, now))[0])
        if price is not None
        else (key, None, None, None)
        for key, price in sorted(found.items())  # in one order, so that writers cannot deadlock
    ]
    with brief_transaction(uri) as cursor:
        execute_values(cursor, _WRITE, new)


def _signed(key: str, price: float, found_at: datetime) -> dict[str, list[object]]:
    return {"price": [key, price, found_at.timestamp()]}


# Invalid values, which only another program can have written, count as no price.
_READ = """
    WITH known AS (
        SELECT *, price > 0 AND price < 'Infinity'
                  AND found_at BETWEEN now() - %(days)s * interval '1 day' AND now() + interval '1 hour'
                  AS is_usable
        FROM powerlift_fleet_price WHERE key = ANY(%(keys)s))
    SELECT key, CASE WHEN is_usable THEN price END, CASE WHEN is_usable THEN found_at END,
           left(signature, 64),
           (is_usable AND found_at >= now() - %(hours)s * interval '1 hour') IS NOT TRUE
           AND tried_at < now() - %(minutes)s * interval '1 minute'
    FROM known
"""
_WRITE = """
    INSERT INTO powerlift_fleet_price AS known (key, price, found_at, signature)
    SELECT key, price::double precision, found_at::timestamptz, signature
    FROM (VALUES %s) AS found (key, price, found_at, signature)
    ON CONFLICT (key) DO UPDATE
        SET price = coalesce(EXCLUDED.price, known.price),
            found_at = coalesce(EXCLUDED.found_at, known.found_at),
            signature = coalesce(EXCLUDED.signature, known.signature), tried_at = now()
"""
