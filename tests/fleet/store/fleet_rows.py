"""Rows of the table of fleets, made as the app makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg2

from fleet.store import claims, fleets


def submission(batch_id: int, **more: Any) -> claims.Submission:
    return claims.Submission(
        **{
            "owner": "us", "batch_id": batch_id, "chose_batch_id": True, "max_lifetime": 60.0,
            "submitters": ["key-1"], "idempotency_key": None,
            "fingerprints": ["same"], "name": None, "experiment_id": 1, "n_instances": 2,
            "account": "account", "resource_uris": [], "max_vms": 1000, "webhook": None,
            "request": "{}", "request_signature": "", "databases": ["here"], **more,
        }
    )  # fmt: skip


def start(uri: str, batch_id: int, **more: Any) -> claims.Claim:
    """A fleet that was submitted and started."""
    claim = claims.claim(uri, submission(batch_id, **more))
    with claims.leased(uri, claim.batch_id) as lease:
        assert lease is not None
        lease.mark_started()
    return claim


def end(uri: str, batch_id: int, **more: Any) -> None:
    ended = datetime.now(UTC)
    fleets.update(uri, batch_id, {"phase": "done", "ended_at": ended, **more})


def sql(uri: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    database = psycopg2.connect(uri)
    try:
        with database, database.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        database.close()
