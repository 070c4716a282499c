"""Database transactions: timeouts, permissions and error messages."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fleet.model.records import stored
from fleet.store.database import DatabaseUnreachable, connected
from fleet.store.trials import count, release
from fleet.store.vm_records import read, write
from tests.fleets import NOW, machine, order

_roles = itertools.count()


@pytest.fixture
def tenant(benchmark_database: Any) -> Iterator[tuple[str, str]]:
    """A database role with access only to Powerlift's tables, not to the fleet's; and its URI."""
    name = f"tenant_{next(_roles)}"
    write(benchmark_database.uri, fleet(), [stored(machine(0))], NOW.isoformat())
    theirs = "experiment, trial, measure_outcome"
    benchmark_database.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    benchmark_database.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {theirs} TO {name}")
    yield name, f"postgresql://{name}:secret@{benchmark_database.uri.partition('@')[2]}"
    benchmark_database.sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def fleet() -> Any:
    return order(created_at="2026-01-01T00:00:00Z")


def test_without_insert_permission_no_vms_are_written(tenant: tuple[str, str]):
    assert write(tenant[1], fleet(), [stored(machine(0))], NOW.isoformat()) is None


def test_without_select_permission_no_vms_are_returned(tenant: tuple[str, str]):
    assert read(tenant[1], fleet()).machines == {}


def test_trials_are_released_without_the_requeue_table(
    tenant: tuple[str, str], benchmark_database: Any
):
    number = benchmark_database.experiment("", trials=1)
    benchmark_database.sql(
        "UPDATE trial SET runner_id = 9, start_time = now() WHERE experiment_id = %s", number
    )
    assert release(tenant[1], number, [9], {9: "evicted"}).runners == [9]


def test_a_statement_has_a_timeout(benchmark_database: Any):
    with (
        pytest.raises(DatabaseUnreachable, match="57014"),
        connected(benchmark_database.uri, statement=1) as database,
        database.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(30)")


def test_the_server_closes_connections_of_a_stopped_client(benchmark_database: Any):
    """The numbers in docs/operating.md: a stopped process's lease ends with its connection."""
    shown = []
    with connected(benchmark_database.uri) as database, database.cursor() as cursor:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
            cursor.execute(f"SHOW {name}")
            shown += cursor.fetchall()
    assert shown == [("20s",), ("30s",)]


def test_sessions_start_without_options():
    """PgBouncer ends a connection that has options."""
    assert set(parameters_of_a_session()) <= {"user", "database", "client_encoding"}


def parameters_of_a_session() -> list[str]:
    """The parameter names in a client's StartupMessage."""
    parameters: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client, client.makefile("rb") as stream:
                while not parameters:
                    (length,) = struct.unpack("!I", stream.read(4))
                    message = stream.read(length - 4)
                    if length == 8:
                        client.sendall(b"N")  # no TLS here
                    else:
                        parameters.extend(message[4:].rstrip(b"\0").split(b"\0"))

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DatabaseUnreachable):
            count(f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/powerlift", 1)
        thread.join()
    return [one.decode() for one in parameters[::2]]


def test_too_many_connections_is_not_a_wrong_password(
    tenant: tuple[str, str], benchmark_database: Any
):
    benchmark_database.sql(f"ALTER ROLE {tenant[0]} CONNECTION LIMIT 0")
    with pytest.raises(DatabaseUnreachable, match="no free connections"):
        count(tenant[1], 1)


def test_a_missing_column_is_not_a_missing_database(benchmark_database: Any):
    with (
        pytest.raises(DatabaseUnreachable, match="SQLSTATE 42703"),
        connected(benchmark_database.uri) as database,
        database.cursor() as cursor,
    ):
        cursor.execute("SELECT nothing FROM trial")


def test_an_error_about_an_invalid_uri_omits_the_uri():
    with pytest.raises(DatabaseUnreachable, match="Percent-encode") as raised:
        count("postgresql://me:hid[den@127.0.0.1/powerlift", 1)
    assert "hid" not in str(raised.value)
