"""The app's tables in a benchmark's database: numbered migrations, each applied once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg2.errors import InsufficientPrivilege, ReadOnlySqlTransaction

from fleet.model.failure import DescribedError
from fleet.store.database import ANSWER_PATIENCE, connected, may, rows

_FOLDER = Path(__file__).with_name("migrations")
_MIGRATIONS = sorted((_FOLDER / "benchmark").glob("*.sql"))
LATEST = len(_MIGRATIONS)
"""The version of the tables that this build uses."""


class SchemaTooNew(DescribedError, RuntimeError):
    """A newer build of the app has migrated the database."""

    code, action = "SchemaTooNew", "fail_fleet"
    advice = "Deploy the newer build of the app here, or use another database."


def version(uri: str) -> int:
    """The version of the tables; 0 where there is none, or the role may not read it.

    Raises SchemaTooNew, DatabaseUnreachable.
    """
    with connected(uri, ANSWER_PATIENCE, ANSWER_PATIENCE) as database, database.cursor() as cursor:
        return _version(cursor)


def migrate(uri: str) -> None:
    """Create the tables, or bring them up to date: all in one transaction.

    Changes nothing where the role may not do so, or the database is read-only. Raises SchemaTooNew,
    DatabaseUnreachable.
    """
    with connected(uri) as database, database.cursor() as cursor:
        if _version(cursor) == LATEST:
            return
        try:
            # Held until the transaction ends: PgBouncer may give the session to another client then.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('powerlift_fleet'))")
            cursor.execute((_FOLDER / "versions.sql").read_text())
            for number in range(_version(cursor), LATEST):
                cursor.execute(_MIGRATIONS[number].read_text())
                cursor.execute(_APPLIED, (number + 1,))
        except (InsufficientPrivilege, ReadOnlySqlTransaction):
            database.rollback()


_VERSION = "SELECT coalesce(max(version), 0) FROM powerlift_fleet_schema WHERE tables = 'benchmark'"
_APPLIED = "INSERT INTO powerlift_fleet_schema (tables, version) VALUES ('benchmark', %s)"


def _version(cursor: Any) -> int:
    if not may(cursor, "powerlift_fleet_schema", "SELECT"):
        return 0
    [(found,)] = rows(cursor, _VERSION)
    if found > LATEST:
        raise SchemaTooNew(
            f"The database has version {found} of the app's tables; this build knows {LATEST}."
        )
    return int(found)
