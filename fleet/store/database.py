"""Connections to a Powerlift database: TLS, deadlines, and errors without the URI."""

from __future__ import annotations

import contextlib
import functools
import math
import select
import time
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import psycopg2
from psycopg2 import extensions

from fleet.model.database_uri import InvalidDatabaseUri, is_this_machine, libpq_options
from fleet.model.failure import DescribedError
from fleet.settings import database_root_cert
from fleet.store.database_identity import TokenRefused, TokenUnavailable, token_for
from fleet.store.idle_connections import IdleConnections

CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 20
"""Seconds. Their sum is below every activity timeout, so a slow database blocks no orchestration."""

REQUEST_TIMEOUT = 5
"""Seconds to connect, and per statement, while an HTTP request waits."""

REUSE_TIMEOUT = 1
"""Seconds for an idle connection to begin a transaction, before the app logs in instead."""

SESSION_SECONDS = 60
"""Age from which a connection is not kept: it does not see that its role was created again."""

GRACE = 2
"""Seconds for the server to report its own timeout, before the app closes the connection."""

JSON_LIMIT = 4096
"""Characters of a JSON value. The app's own have up to 3,000; VMs may write hundreds of megabytes."""
OUTCOME_LIMIT = 1000
"""Characters of the reason for a VM's end, which the VM writes."""

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
    passes: ClassVar[bool] = False
    """Whether waiting may help. False: the usual cause is a wrong URI or firewall rule."""


class DatabaseBusy(DatabaseUnreachable):
    """The app has too many operations under way to begin one."""

    code, passes = "DatabaseBusy", True
    advice = "Retry. If it persists, check whether the database responds."


class DatabaseTokenUnavailable(DatabaseUnreachable):
    """Entra issued no token for a database without a password."""

    code, passes = "DatabaseTokenUnavailable", True
    advice = "Check the app's managed identity, or put a password into the URI."


class _DeadlineExceeded(psycopg2.OperationalError):
    """The server did not respond in time; psycopg2 has closed the connection."""


class _Connection(extensions.connection):
    """A connection on which the login and each statement end within `limit` seconds.

    Neither connect_timeout nor statement_timeout does this for a server that stops responding.
    """

    def __init__(self, limit: float, dsn: str, **options: Any) -> None:
        self.limit = limit
        self.opened = time.monotonic()
        super().__init__(dsn, **options)


def _wait(database: extensions.connection) -> None:
    """Wait for the end of one operation. psycopg2 calls this for all connections of the process."""
    limit = database.limit if isinstance(database, _Connection) else None
    until = None if limit is None else time.monotonic() + limit
    while (state := database.poll()) != extensions.POLL_OK:
        poll = select.poll()
        poll.register(
            database.fileno(), select.POLLIN if state == extensions.POLL_READ else select.POLLOUT
        )
        if not poll.poll(until and max(0.0, until - time.monotonic()) * 1000):
            raise _DeadlineExceeded


extensions.set_wait_callback(_wait)


def _moment(text: Any, cursor: Any) -> datetime | None:
    """A timestamptz; None for those that Python lacks, such as infinity: every VM may write them."""
    if text is None or "infinity" in text:
        return None
    try:
        moment: datetime = extensions.PYDATETIMETZ(text, cursor)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_TIMESTAMPTZ = extensions.new_type(extensions.PYDATETIMETZ.values, "TIMESTAMPTZ", _moment)


@contextmanager
def connected(
    uri: str, connect: float = CONNECT_TIMEOUT, statement: float = STATEMENT_TIMEOUT
) -> Iterator[extensions.connection]:
    """Open one transaction. `connect` and `statement` are limits in seconds.

    Nothing of the session is kept for the next one. Raises DatabaseUnreachable for any psycopg2 error.
    """
    keywords: dict[str, Any] = {**_options(uri), **_DEAD_PEER}
    login = frozenset(keywords.items())
    try:
        database = _reused(login, statement) or _logged_in(keywords, connect, statement)
        try:
            yield database
            database.commit()
        except BaseException:
            with contextlib.suppress(psycopg2.Error):  # the first error says more
                database.rollback()
            database.close()
            raise
        if time.monotonic() - database.opened < SESSION_SECONDS:
            _IDLE.keep(login, database)
        else:
            database.close()
    except psycopg2.Error as error:
        reason = _reason(error)
        if reason == _REJECTED and keywords.get("require_auth") == "password":
            reason = _IDENTITY_REJECTED
        raise DatabaseUnreachable(reason) from None


@contextmanager
def transaction(
    uri: str, connect: float = CONNECT_TIMEOUT, statement: float = STATEMENT_TIMEOUT
) -> Iterator[extensions.cursor]:
    """The cursor of one transaction: see `connected`."""
    with connected(uri, connect, statement) as database, database.cursor() as cursor:
        yield cursor


def brief_transaction(uri: str) -> AbstractContextManager[extensions.cursor]:
    """A transaction for which an HTTP request, or a fleet, waits: with REQUEST_TIMEOUT."""
    return transaction(uri, REQUEST_TIMEOUT, REQUEST_TIMEOUT)


def _reused(login: Hashable, statement: float) -> _Connection | None:
    """An idle connection in a new transaction; None if there is none, or none that responds."""
    database = _IDLE.take(login)
    if database is None:
        return None
    try:
        _begin(database, REUSE_TIMEOUT, statement)
    except psycopg2.Error:
        database.close()
        _IDLE.close(login)  # probably of the same fate, and each would take its time
        return None
    return database


def _logged_in(keywords: dict[str, Any], connect: float, statement: float) -> _Connection:
    """A new connection, in a transaction."""
    factory = functools.partial(_Connection, connect)
    database: _Connection = psycopg2.connect(connection_factory=factory, **keywords)
    try:
        extensions.register_type(_TIMESTAMPTZ, database)
        _begin(database, statement + GRACE, statement)
    except BaseException:
        database.close()
        raise
    return database


def _begin(database: _Connection, limit: float, statement: float) -> None:
    """Begin a transaction within `limit` seconds, with the timeout of its statements."""
    database.limit = limit
    with database.cursor() as cursor:
        # Not as a connection option, because PgBouncer rejects unknown options.
        cursor.execute(_TIMEOUTS, (math.ceil(statement * 1000), IDLE_TIMEOUT * 1000))
    database.limit = statement + GRACE


_IDLE: IdleConnections[_Connection] = IdleConnections()


def rows(cursor: Any, statement: str, values: Any = ()) -> list[Any]:
    cursor.execute(statement, values)
    return list(cursor.fetchall())


def short_outcome(column: str) -> str:
    """SQL of a text of up to OUTCOME_LIMIT characters. An ellipsis marks what is cut off."""
    begin = f"left({column}, {OUTCOME_LIMIT + 1})"  # not all of what may be hundreds of megabytes
    return f"""CASE WHEN length({begin}) <= {OUTCOME_LIMIT} THEN {begin}
        ELSE left({column}, {OUTCOME_LIMIT - 1}) || '…' END"""


def small_json(column: str, limit: int = JSON_LIMIT) -> str:
    """SQL of a jsonb column, null if it has more than `limit` characters.

    The stored size is checked first: a compressed value could exceed the server's own limit as text.
    """
    return f"""CASE WHEN pg_column_size({column}) <= {2 * limit}
        THEN CASE WHEN length({column}::text) <= {limit} THEN {column} END END"""


def may(cursor: Any, table: str, *privileges: str) -> bool:
    """Whether one of the app's tables exists and the role has these privileges on it.

    The app's tables are optional: callers degrade without them.
    """
    return bool(rows(cursor, _MAY, (table, list(privileges)))[0][0])


def may_read(cursor: Any, *tables: str) -> bool:
    return all(may(cursor, table, "SELECT") for table in tables)


def may_write(cursor: Any, *tables: str) -> bool:
    """Whether the app's tables exist and the role may read, insert and update."""
    return all(may(cursor, table, "SELECT", "INSERT", "UPDATE") for table in tables)


_MAY = """
    SELECT coalesce(bool_and(has_table_privilege(to_regclass(%s), needed)), false)
    FROM unnest(%s) AS needed
"""


def _options(uri: str) -> dict[str, str]:
    """The keywords of a connection, with a token if the URI has no password.

    Raises DatabaseUnreachable.
    """
    try:
        options = libpq_options(uri, database_root_cert())
        if "password" in options or is_this_machine(options["host"]):
            return options
        return {**options, "password": token_for(options["host"], options.get("port"))}
    except InvalidDatabaseUri as error:
        raise DatabaseUnreachable(f"The database URI is invalid. {error}") from None
    except TokenUnavailable as error:
        raise DatabaseTokenUnavailable(str(error)) from None
    except TokenRefused as error:
        raise DatabaseUnreachable(str(error)) from None


def _reason(error: psycopg2.Error) -> str:
    if isinstance(error, psycopg2.errors.UndefinedTable):
        return (
            "The database has no Powerlift tables (experiment, trial). Check the database name in the "
            "URI."
        )
    if isinstance(error, _DeadlineExceeded):
        return (
            "The database did not respond in time, and the app closed the connection. Check host and "
            "port, that the server is running, and its load."
        )
    if isinstance(error, psycopg2.errors.QueryCanceled):
        return (
            "The database ended the statement at its timeout (SQLSTATE 57014). Check its load, and "
            "which sessions hold locks."
        )
    if error.pgcode:
        return f"The database rejected the query (SQLSTATE {error.pgcode})."
    # psycopg2 has no SQLSTATE for a refused connection, only libpq's or the server's message.
    text = str(error).lower()
    return next(reason for parts, reason in _REASONS if any(part in text for part in parts))


_REJECTED = "The database rejected the user or password in the URI."
_IDENTITY_REJECTED = (
    "The database rejected the app's identity. Create its role with pgaadauth_create_principal, and use "
    "the role's name as the user in the URI."
)
_REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("too many", "connection slots"),
        "The database has no free connections. Raise max_connections, or use fewer VMs.",
    ),
    (
        ("does not support ssl",),
        "The database server does not offer TLS, so no password was sent. Enable ssl on the server.",
    ),
    (
        ("does not match host name",),
        "The certificate of the database server is for another host name. Use the name in the "
        "certificate as the host of the URI.",
    ),
    (
        ("root certificate file", "could not load"),
        "The file of trusted root certificates cannot be read. Check the setting FLEET_DB_ROOT_CERT.",
    ),
    (
        ("certificate verify failed", "signature failure"),
        "The certificate of the database server is not signed by a trusted root. Set FLEET_DB_ROOT_CERT "
        "to the file of its root certificate.",
    ),
    (
        ("requested a cleartext password", "requested a hashed password"),
        "The database server asked for the password in clear text or as MD5, and did not get it. Use "
        "scram-sha-256 in its pg_hba.conf, and set the role's password again.",
    ),
    (
        ("authentication method requirement",),
        "The database server did not ask for the password in the way that the app requires. Use "
        "scram-sha-256 in its pg_hba.conf; for a URI without a password, a role for Entra.",
    ),
    (
        ("password authentication", "role ", "access token"),
        _REJECTED,
    ),
    (
        ("does not exist",),
        "The database in the URI does not exist on the server.",
    ),
    (
        ("ssl ", "tls "),
        "The TLS handshake with the database server failed. Check its certificate and TLS version.",
    ),
    (
        ("",),
        "The database is unreachable. Check host, port, firewall, and that the server is running.",
    ),
)
"""Parts of a message, in lower case, and the reason to report. The first match counts."""
