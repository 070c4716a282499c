"""Powerlift's trial table, as far as a fleet needs it: counting, and giving lost trials back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg2

from fleet.records import Trials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection

CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 20
"""Seconds. Together below every tick's patience, so that a slow database holds no orchestration."""


class DatabaseUnreachable(RuntimeError):
    """The database could not be asked. Holds no URI: psycopg2's own texts may name user and host."""


def libpq_uri(uri: str) -> str:
    """The URI as libpq takes it: without SQLAlchemy's driver, with a connect timeout."""
    parts = urlsplit(uri)
    query = {"connect_timeout": str(CONNECT_TIMEOUT), **dict(parse_qsl(parts.query))}
    return urlunsplit(parts._replace(scheme="postgresql", query=urlencode(query)))


def count(uri: str, experiment_id: int) -> Trials | None:
    """How many trials are where, in Powerlift's own terms; None when there is no such experiment.

    Raises DatabaseUnreachable. Blocks for CONNECT_TIMEOUT + STATEMENT_TIMEOUT seconds at most.
    """
    statement = """
        SELECT e.id,
               count(t.id),
               count(t.id) FILTER (WHERE t.end_time IS NULL AND t.start_time IS NULL),
               count(t.id) FILTER (WHERE t.end_time IS NULL AND t.start_time IS NOT NULL),
               count(t.id) FILTER (WHERE t.end_time IS NOT NULL AND t.errmsg IS NULL),
               count(t.id) FILTER (WHERE t.end_time IS NOT NULL AND t.errmsg IS NOT NULL)
        FROM experiment e LEFT JOIN trial t ON t.experiment_id = e.id
        WHERE e.id = %s
        GROUP BY e.id
    """
    with _connected(uri) as database, database.cursor() as cursor:
        cursor.execute(statement, (experiment_id,))
        row = cursor.fetchone()
    if row is None:
        return None
    total, ready, running, complete, error = (int(value) for value in row[1:])
    return {
        "total": total,
        "ready": ready,
        "running": running,
        "complete": complete,
        "error": error,
    }


def release(uri: str, experiment_id: int, runner_ids: Sequence[int]) -> list[int]:
    """Put the open trials of runners that are gone back to the queue. Returns the runners that held
    some.

    What they had measured is deleted, or the trial's results would mix two machines' timings.
    Raises DatabaseUnreachable. Only for runners whose VM no longer exists: another would write on.
    """
    statement = """
        WITH held AS (
            SELECT id, runner_id FROM trial
            WHERE experiment_id = %s AND runner_id = ANY(%s) AND end_time IS NULL
            FOR UPDATE
        ), released AS (
            UPDATE trial SET runner_id = -1, start_time = NULL
            FROM held WHERE trial.id = held.id
        ), forgotten AS (
            DELETE FROM measure_outcome WHERE trial_id IN (SELECT id FROM held)
        )
        SELECT DISTINCT runner_id FROM held
    """
    with _connected(uri) as database, database.cursor() as cursor:
        cursor.execute(statement, (experiment_id, list(runner_ids)))
        return sorted(int(runner) for (runner,) in cursor.fetchall())


@contextmanager
def _connected(uri: str) -> Iterator[connection]:
    try:
        database = psycopg2.connect(
            libpq_uri(uri), options=f"-c statement_timeout={STATEMENT_TIMEOUT * 1000}"
        )
        try:
            with database:
                yield database
        finally:
            database.close()
    except psycopg2.errors.UndefinedTable:
        raise DatabaseUnreachable(
            "The database answers, but has no Powerlift tables (experiment, trial): is the name in "
            "the URI that of the benchmark's database?"
        ) from None
    except psycopg2.Error as error:
        raise DatabaseUnreachable(_reason(error)) from None


def _reason(error: psycopg2.Error) -> str:
    text = str(error).lower()
    if "password authentication" in text or "role " in text:
        return "The database refuses the user or the password of the URI."
    if "does not exist" in text:
        return "The server answers, but has no database of the URI's name."
    if error.pgcode:
        return f"The database refused the query (SQLSTATE {error.pgcode})."
    return "The database does not answer: check host, port, firewall, and that it runs."
