"""Connections to a Powerlift database: timeouts, and errors without the URI."""

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
"""Seconds. Their sum is below every activity timeout, so a slow database blocks no orchestration."""

REQUEST_TIMEOUT = 5
"""Seconds to connect, and per statement, while an HTTP request waits."""


IDLE_TIMEOUT = 30
"""Seconds after which the server ends the transaction of a client that has stopped: its locks too."""

_TIMEOUTS = """
    SET LOCAL statement_timeout = %s; SET LOCAL idle_in_transaction_session_timeout = %s
"""
_DEAD_PEER: dict[str, Any] = {
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000,
}  # fmt: skip
"""Ends a connection whose server has vanished, which no statement_timeout does. libpq's own options."""


class DatabaseUnreachable(DescribedError, RuntimeError):
    """A database operation failed. Omits psycopg2's message, which may contain user and host."""

    code, action = "DatabaseUnreachable", "retry"
    advice = "Check the request's uri or the setting POWERLIFT_DB_URI, and the database's firewall."


@contextmanager
def connected(
    uri: str, connect: int = CONNECT_TIMEOUT, statement: int = STATEMENT_TIMEOUT
) -> Iterator[connection]:
    """Open one transaction. `connect` and `statement` are timeouts in seconds.

    Raises DatabaseUnreachable for any psycopg2 error.
    """
    try:
        database = psycopg2.connect(_libpq(uri), connect_timeout=connect, **_DEAD_PEER)
        try:
            with database, database.cursor() as cursor:
                # Not as a connection option, because PgBouncer rejects unknown options.
                cursor.execute(_TIMEOUTS, (statement * 1000, IDLE_TIMEOUT * 1000))
                yield database
        finally:
            database.close()
    except psycopg2.Error as error:
        raise DatabaseUnreachable(_reason(error)) from None


def rows(cursor: Any, statement: str, values: Any = ()) -> list[Any]:
    cursor.execute(statement, values)
    return list(cursor.fetchall())


def may(cursor: Any, table: str, *privileges: str) -> bool:
    """Whether one of the app's tables exists and the role has these privileges on it.

    The app's tables are optional: callers degrade without them.
    """
    return bool(rows(cursor, _MAY, (table, list(privileges)))[0][0])


def may_write(cursor: Any, table: str) -> bool:
    """Whether one of the app's tables exists and the role may read, insert and update."""
    return may(cursor, table, "SELECT", "INSERT", "UPDATE")


_MAY = """
    SELECT coalesce(bool_and(has_table_privilege(to_regclass(%s), needed)), false)
    FROM unnest(%s) AS needed
"""


def _libpq(uri: str) -> str:
    """The URI without a SQLAlchemy driver. Raises DatabaseUnreachable."""
    try:
        return urlunsplit(urlsplit(uri)._replace(scheme="postgresql"))
    except ValueError:
        raise DatabaseUnreachable(
            "The database URI is invalid. Percent-encode special characters in its password."
        ) from None


def _reason(error: psycopg2.Error) -> str:
    if isinstance(error, psycopg2.errors.UndefinedTable):
        return (
            "The database has no Powerlift tables (experiment, trial). Check the database name in the "
            "URI."
        )
    if error.pgcode:
        return f"The database rejected the query (SQLSTATE {error.pgcode})."
    # psycopg2 has no SQLSTATE for a refused connection, only the server's message.
    text = str(error).lower()
    if "too many" in text or "connection slots" in text:
        return "The database has no free connections. Raise max_connections, or use fewer VMs."
    if "password authentication" in text or "role " in text:
        return "The database rejected the user or password in the URI."
    if "does not exist" in text:
        return "The database in the URI does not exist on the server."
    return (
        "The database is unreachable. Check host, port, firewall, and that the server is running."
    )
