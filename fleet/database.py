"""The Powerlift database: one transaction at a time, with deadlines, and no URI in any error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 20
"""Seconds. Together below every tick's patience, so that a slow database holds no orchestration."""

OUR_TABLES = "SELECT pg_advisory_xact_lock(hashtext('powerlift_fleet'));"
"""Before tables of ours are made: whoever is first makes them, `startup.sh` too, and the rest wait."""


class DatabaseUnreachable(RuntimeError):
    """The database could not be asked. Holds no URI: psycopg2's own texts may name user and host."""


@contextmanager
def connected(
    uri: str, connect: int = CONNECT_TIMEOUT, statement: int = STATEMENT_TIMEOUT
) -> Iterator[connection]:
    """One transaction, with so many seconds to connect and for each statement.

    Raises DatabaseUnreachable, whatever goes wrong in it.
    """
    parts = urlsplit(uri)
    asked = dict(parse_qsl(parts.query)).get("options", "")
    try:
        database = psycopg2.connect(
            urlunsplit(parts._replace(scheme="postgresql")),  # without SQLAlchemy's driver
            connect_timeout=connect,
            options=f"{asked} -c statement_timeout={statement * 1000}",
        )
        try:
            with database:
                yield database
        finally:
            database.close()
    except psycopg2.Error as error:
        raise DatabaseUnreachable(_reason(error)) from None


def may_make(cursor: Any, table: str, statements: str) -> bool:
    """Whether a table of ours is there, or could be made by these statements.

    A database role that may not make one goes without: nothing that a fleet needs is in them.
    """
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
    if cursor.fetchone()[0]:
        return True
    cursor.execute("SAVEPOINT before_table")
    try:
        cursor.execute(OUR_TABLES + statements)
    except psycopg2.errors.InsufficientPrivilege:
        cursor.execute("ROLLBACK TO SAVEPOINT before_table")
        return False
    return True


def _reason(error: psycopg2.Error) -> str:
    if isinstance(error, psycopg2.errors.UndefinedTable):
        return (
            "The database answers, but has no Powerlift tables (experiment, trial): is the name in "
            "the URI that of the benchmark's database?"
        )
    text = str(error).lower()
    if "password authentication" in text or "role " in text:
        return "The database refuses the user or the password of the URI."
    if "does not exist" in text:
        return "The server answers, but has no database of the URI's name."
    if error.pgcode:
        return f"The database refused the query (SQLSTATE {error.pgcode})."
    return "The database does not answer: check host, port, firewall, and that it runs."
