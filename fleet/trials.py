"""Powerlift's trial table, as far as a fleet needs it: counting, and giving lost trials back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg2

from fleet.records import Trials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection

CONNECT_TIMEOUT = 10
STATEMENT_TIMEOUT = 20
"""Seconds. Together below every tick's patience, so that a slow database holds no orchestration."""

LOSSES = 3
"""VMs that a trial may take with it, or be unlucky with, before it is given up."""


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


def release(
    uri: str,
    experiment_id: int,
    runner_ids: Sequence[int],
    reasons: Mapping[int, str] | None = None,
) -> list[int]:
    """Put the open trials of runners that are gone back to the queue. Returns the runners that held
    some.

    `reasons` tells, by runner, why its VM is gone, where that is to be held against the trial: one
    that was lost LOSSES times is marked as failed instead, with the last reason. Losses are kept in a
    table of our own, so the answer is the same when this is done twice; without the right to make
    one, a trial goes back however often.

    What the trials had measured is deleted, or a trial's results would mix two machines' timings.
    Raises DatabaseUnreachable. Only for runners whose VM no longer exists: another would write on.
    """
    with _connected(uri) as database, database.cursor() as cursor:
        cursor.execute(_HELD, (experiment_id, list(runner_ids)))
        held: dict[int, int] = dict(cursor.fetchall())
        runners, spent = set(held.values()), {}
        if reasons is not None and _has_losses(cursor):
            lost = [(trial, runner, reasons.get(runner, "")) for trial, runner in held.items()]
            cursor.executemany(_LOSE, lost)
            cursor.execute(_LOST, (list(runner_ids), experiment_id))
            runners = {runner for (runner,) in cursor.fetchall()}
            cursor.execute(_SPENT, (list(held), LOSSES))
            spent = {trial: reasons.get(held[trial], "") for (trial,) in cursor.fetchall()}
        back = [trial for trial in held if trial not in spent]
        cursor.execute(_GIVE_BACK, (back,))
        cursor.executemany(_GIVE_UP, [(_given_up(why), trial) for trial, why in spent.items()])
        cursor.execute(_FORGET, (list(held),))
    return sorted(runners)


_HELD = """
    SELECT id, runner_id FROM trial
    WHERE experiment_id = %s AND runner_id = ANY(%s) AND end_time IS NULL FOR UPDATE
"""
_GIVE_BACK = "UPDATE trial SET runner_id = -1, start_time = NULL WHERE id = ANY(%s)"
_GIVE_UP = "UPDATE trial SET runner_id = -2, end_time = now(), errmsg = %s WHERE id = %s"
_FORGET = "DELETE FROM measure_outcome WHERE trial_id = ANY(%s)"
_MAKE_LOSSES = """
    SELECT pg_advisory_xact_lock(hashtext('powerlift_fleet'));
    CREATE TABLE IF NOT EXISTS powerlift_fleet_loss (
        trial_id integer, runner_id integer, reason text, lost_at timestamptz DEFAULT now(),
        PRIMARY KEY (trial_id, runner_id))
"""
_LOSE = """
    INSERT INTO powerlift_fleet_loss (trial_id, runner_id, reason) VALUES (%s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_LOST = """
    SELECT DISTINCT loss.runner_id FROM powerlift_fleet_loss loss
    JOIN trial ON trial.id = loss.trial_id
    WHERE loss.runner_id = ANY(%s) AND trial.experiment_id = %s
"""
_SPENT = """
    SELECT trial_id FROM powerlift_fleet_loss WHERE trial_id = ANY(%s)
    GROUP BY trial_id HAVING count(*) >= %s
"""


def _has_losses(cursor: Any) -> bool:
    """Whether the table of losses is there, or could be made."""
    cursor.execute("SELECT to_regclass('powerlift_fleet_loss') IS NOT NULL")
    if cursor.fetchone()[0]:
        return True
    cursor.execute("SAVEPOINT before_losses")
    try:
        cursor.execute(_MAKE_LOSSES)
    except psycopg2.errors.InsufficientPrivilege:
        cursor.execute("ROLLBACK TO SAVEPOINT before_losses")
        return False
    return True


def _given_up(reason: str) -> str:
    return f"The trial was lost {LOSSES} times with the VM that ran it, and is given up. {reason}"


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
