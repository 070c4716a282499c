"""The app's tables: numbered migrations, each applied once. Some are for the app's own database, others
for the benchmarks' databases. Both may be one database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2.errors import (
    InsufficientPrivilege,
    ReadOnlySqlTransaction,
    UndefinedTable,
    UniqueViolation,
)

from fleet.model.failure import DescribedError
from fleet.store.database import DatabaseUnreachable, brief_transaction, may_read, rows, transaction

_FOLDER = Path(__file__).with_name("migrations")
VERSIONS = _FOLDER / "versions.sql"
GRANTS = _FOLDER / "grants.sql"


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one kind of database. Their migrations are in the folder of this name."""

    name: str

    @property
    def migrations(self) -> list[Path]:
        return sorted((_FOLDER / self.name).glob("*.sql"))

    @property
    def latest(self) -> int:
        """The version that this build uses."""
        return len(self.migrations)


APP = Tables("app")
BENCHMARK = Tables("benchmark")


class SchemaTooNew(DescribedError, RuntimeError):
    """A newer build of the app has migrated the database."""

    code, action = "SchemaTooNew", "fail_fleet"
    advice = "Deploy the newer build of the app here, or use another database."


def version(uri: str, tables: Tables) -> int:
    """The version of the tables; 0 if they do not exist, or the role may not read their version.

    Raises SchemaTooNew, DatabaseUnreachable.
    """
    with brief_transaction(uri) as cursor:
        return _version(cursor, tables)


def migrate(uri: str, tables: Tables) -> int:
    """Create or migrate the tables in one transaction. Returns their version.

    Changes nothing if the role lacks the permissions, or the database is read-only. Raises SchemaTooNew,
    DatabaseUnreachable.
    """
    with transaction(uri) as cursor:
        before = _version(cursor, tables)
        if before == tables.latest:
            return before
        try:
            cursor.execute(VERSIONS.read_text())
            cursor.execute(_LOCK)
            for number in range(_version(cursor, tables), tables.latest):
                cursor.execute(tables.migrations[number].read_text())
                cursor.execute(_APPLIED, (tables.name, number + 1))
        except (InsufficientPrivilege, ReadOnlySqlTransaction):
            cursor.connection.rollback()
            return before
        except UniqueViolation:
            # In PostgreSQL's catalog: another process has created the table of versions concurrently.
            cursor.connection.rollback()
            return migrate(uri, tables)
    return tables.latest


def grant(uri: str, vms: str) -> None:
    """Grant the role of VMs and the authors, where these differ from the app's, the BENCHMARK tables.

    `vms` may be empty, or a role that does not exist. Changes nothing if the app's role does not own the
    tables; their owner grants them then (docs/operating.md). Nor if the table of versions is missing.
    Raises DatabaseUnreachable.
    """
    with transaction(uri) as cursor:
        query = GRANTS.read_text()
        if not rows(cursor, query, (vms,)):
            return
        try:
            cursor.execute(_LOCK)  # PostgreSQL refuses concurrent grants of one table
            for (statement,) in rows(cursor, query, (vms,)):
                cursor.execute(statement)
        except (InsufficientPrivilege, ReadOnlySqlTransaction, UndefinedTable):
            cursor.connection.rollback()


def prepare(uri: str) -> None:
    """Migrate the app's own database, once per process.

    Raises SchemaTooNew; DatabaseUnreachable, also if the role may not migrate.
    """
    if uri in _prepared:
        return
    found = migrate(uri, APP)
    if found < APP.latest:
        raise DatabaseUnreachable(
            f"The app's own table powerlift_fleet has version {found}, this build requires version "
            f"{APP.latest}, and the role in POWERLIFT_DB_URI may not migrate it. Nothing was changed. "
            "Grant the role CREATE on the schema, and make it the owner of the table if it exists."
        )
    _prepared.add(uri)


_prepared: set[str] = set()
# Not an advisory lock, which any session of the database may take. It ends with the transaction, after
# which PgBouncer may assign the session to another client.
_LOCK = "LOCK TABLE powerlift_fleet_schema IN SHARE ROW EXCLUSIVE MODE"
_VERSION = "SELECT coalesce(max(version), 0) FROM powerlift_fleet_schema WHERE tables = %s"
_APPLIED = "INSERT INTO powerlift_fleet_schema (tables, version) VALUES (%s, %s)"


def _version(cursor: Any, tables: Tables) -> int:
    if not may_read(cursor, "powerlift_fleet_schema"):
        return 0
    [(found,)] = rows(cursor, _VERSION, (tables.name,))
    if found > tables.latest:
        raise SchemaTooNew(
            f"The database has version {found} of the app's tables; this build requires {tables.latest}."
        )
    return int(found)
