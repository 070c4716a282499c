"""Transactions share connections, and nothing of one reaches the next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from fleet.store import database
from fleet.store.database import DatabaseUnreachable, connected, rows
from fleet.store.idle_connections import IdleConnections
from tests.harness import eventually
from tests.relay import Relay

MINE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'idle'"


@pytest.fixture(autouse=True)
def none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connections of other tests."""
    monkeypatch.setattr(database, "_IDLE", IdleConnections())


@pytest.fixture
def opened(benchmark_database: Any) -> Iterator[list[Any]]:
    found = [psycopg2.connect(benchmark_database.uri, application_name="idle") for _ in range(3)]
    yield found
    for one in found:
        one.close()


def session(uri: str) -> int:
    """The server's process that runs a transaction."""
    with connected(uri) as one, one.cursor() as cursor:
        return int(rows(cursor, "SELECT pg_backend_pid()")[0][0])


def test_the_next_transaction_uses_the_same_connection(benchmark_database: Any):
    assert session(benchmark_database.uri) == session(benchmark_database.uri)


def test_an_old_connection_is_not_used_again(
    benchmark_database: Any, monkeypatch: pytest.MonkeyPatch
):
    """Its session would not see that its role was dropped and created again."""
    monkeypatch.setattr(database, "SESSION_SECONDS", 0)
    assert session(benchmark_database.uri) != session(benchmark_database.uri)


def test_transactions_at_the_same_time_have_their_own(benchmark_database: Any):
    with connected(benchmark_database.uri) as one, one.cursor() as cursor:
        mine = rows(cursor, "SELECT pg_backend_pid()")[0][0]
        assert session(benchmark_database.uri) != mine


def test_another_login_has_its_own(benchmark_database: Any):
    uri = benchmark_database.uri
    assert session(uri) != session(f"{uri}?connect_timeout=9")


def test_timeouts_are_those_of_the_transaction(benchmark_database: Any):
    def timeout(**limit: float) -> str:
        with connected(benchmark_database.uri, **limit) as one, one.cursor() as cursor:
            return str(rows(cursor, "SHOW statement_timeout")[0][0])

    assert [timeout(statement=3), timeout(), timeout(statement=3)] == ["3s", "20s", "3s"]


def test_a_connection_with_an_error_is_not_used_again(benchmark_database: Any):
    first = session(benchmark_database.uri)
    with (
        pytest.raises(DatabaseUnreachable),
        connected(benchmark_database.uri) as one,
        one.cursor() as cursor,
    ):
        cursor.execute("SELECT 1/0")
    assert session(benchmark_database.uri) != first


def test_a_connection_that_the_server_has_closed_is_replaced(benchmark_database: Any):
    first = session(benchmark_database.uri)
    benchmark_database.sql(f"SELECT pg_terminate_backend({first}, 5000)")
    assert session(benchmark_database.uri) != first


def test_a_login_replaces_a_connection_that_does_not_respond(
    benchmark_database: Any, monkeypatch: pytest.MonkeyPatch
):
    """Such as one that a firewall has forgotten."""
    monkeypatch.setattr(database, "REUSE_TIMEOUT", 0.1)
    with Relay(benchmark_database.uri) as relay:
        first = session(relay.uri)
        relay.stall()
        resumes = threading.Timer(0.5, relay.resume)
        resumes.start()
        assert session(relay.uri) != first
        resumes.join()


def test_idle_connections_are_closed(benchmark_database: Any, opened: list[Any]):
    idle = IdleConnections[Any](seconds=0.1)
    for one in opened:
        idle.keep("me", one)
    eventually(lambda: benchmark_database.sql(MINE) == [(0,)] or None)
    assert idle.take("me") is None


def test_a_connection_in_use_again_is_not_closed(opened: list[Any]):
    idle = IdleConnections[Any](seconds=0.1)
    idle.keep("me", opened[0])
    taken = idle.take("me")
    idle.keep("other", opened[1])
    eventually(lambda: opened[1].closed or None)
    assert (taken, taken.closed) == (opened[0], 0)


def test_no_more_are_kept_than_allowed(opened: list[Any]):
    idle = IdleConnections[Any](kept=2)
    for one in opened:
        idle.keep("me", one)
    assert [one.closed for one in opened] == [1, 0, 0]
    assert idle.take("me") is opened[2]
