"""The Powerlift database: one transaction at a time, with deadlines, and no URI in any error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from fleet.model.failure import DescribedError

if TYPE_CHECKING:
    from psycopg2.extensions import connection

CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 20
"""Seconds. Together below every tick's patience, so that a slow database holds no orchestration."""

ANSWER_PATIENCE = 5
"""Seconds, once to connect and once for each statement, while somebody waits for an answer."""


class DatabaseUnreachable(DescribedError, RuntimeError):
    """The database could not be asked. Holds no URI: psycopg2's own texts may name user and host."""

    code, action = "DatabaseUnreachable", "retry"
    advice = "Check the request's uri or the setting POWERLIFT_DB_URI, and the firewall."


@contextmanager
def connected(
    uri: str, connect: int = CONNECT_TIMEOUT, statement: int = STATEMENT_TIMEOUT
) -> Iterator[connection]:
    """One transaction, with so many seconds to connect and for each statement.

    Raises DatabaseUnreachable, whatever goes wrong in it.
    """
    try:
        database = psycopg2.connect(_libpq(uri), connect_timeout=connect)
        try:
            with database, database.cursor() as cursor:
                # Not as an option of the connection: a pooler (PgBouncer) refuses what it does not know.
                cursor.execute("SET LOCAL statement_timeout = %s", (statement * 1000,))
                yield database
        finally:
            database.close()
    except psycopg2.Error as error:
        raise DatabaseUnreachable(_reason(error)) from None


def rows(cursor: Any, statement: str, values: Any = ()) -> list[Any]:
    """What a statement answers."""
    cursor.execute(statement, values)
    return list(cursor.fetchall())


def may(cursor: Any, table: str, *privileges: str) -> bool:
    """Whether a table of ours exists, and the role has these privileges on it.

    A role without them goes without: nothing that a fleet needs is in these tables.
    """
    return bool(rows(cursor, _MAY, (table, list(privileges)))[0][0])


def may_write(cursor: Any, table: str) -> bool:
    """Whether a table of ours exists, and the role may read, insert and update."""
    return may(cursor, table, "SELECT", "INSERT", "UPDATE")


_MAY = """
    SELECT coalesce(bool_and(has_table_privilege(to_regclass(%s), needed)), false)
    FROM unnest(%s) AS needed
"""


def _libpq(uri: str) -> str:
    """The URI without SQLAlchemy's driver. Raises DatabaseUnreachable."""
    try:
        return urlunsplit(urlsplit(uri)._replace(scheme="postgresql"))
    except ValueError:
        raise DatabaseUnreachable(
            "The database's URI is none: percent-encode what is special in its password."
        ) from None


def _reason(error: psycopg2.Error) -> str:
    if isinstance(error, psycopg2.errors.UndefinedTable):
        return (
            "The database answers, but has no Powerlift tables (experiment, trial): is the name in "
            "the URI that of the benchmark's database?"
        )
    if error.pgcode:
        return f"The database refused the query (SQLSTATE {error.pgcode})."
    # Refused before there was a session: psycopg2 then knows no code, and has the server's words alone.
    text = str(error).lower()
    if "too many" in text or "connection slots" in text:
        return "The database has no connection left: allow it more, or ask for fewer VMs at once."
    if "password authentication" in text or "role " in text:
        return "The database refuses the user or the password of the URI."
    if "does not exist" in text:
        return "The server answers, but has no database of the URI's name."
    return "The database does not answer: check host, port, firewall, and that it runs."
