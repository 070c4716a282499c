"""Servers that stop responding: every operation times out, and its connection is closed."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.store import database
from fleet.store.database import DatabaseUnreachable, connected
from tests.relay import Relay, silent_server

LATE = "did not respond in time"


@pytest.mark.parametrize(
    ("host", "greeting"),
    [("127.0.0.1", b""), ("0.0.0.0", b"S"), ("127.0.0.1", b"N")],
    ids=["before TLS", "in the TLS handshake", "before the password"],
)
def test_a_login_times_out_at_its_deadline(host: str, greeting: bytes):
    with (
        silent_server(greeting) as place,
        pytest.raises(DatabaseUnreachable, match=LATE),
        connected(f"postgresql://me:secret@{host}:{place.partition(':')[2]}/db", connect=0.2),
    ):
        pass


@pytest.mark.parametrize("statement", ["SELECT 1", None], ids=["statement", "commit"])
def test_a_server_that_stalls_after_the_login_times_out_at_the_deadline(
    benchmark_database: Any, monkeypatch: pytest.MonkeyPatch, statement: str | None
):
    monkeypatch.setattr(database, "GRACE", 0.1)

    def stall() -> None:
        with connected(relay.uri, statement=0.5) as session, session.cursor() as cursor:
            relay.stall()
            if statement:
                cursor.execute(statement)

    with Relay(benchmark_database.uri) as relay:
        with pytest.raises(DatabaseUnreachable, match=LATE):
            stall()
        relay.resume()
        assert relay.left.wait(30)


def test_an_error_in_a_transaction_is_rolled_back(benchmark_database: Any):
    def fail() -> None:
        with connected(benchmark_database.uri) as session, session.cursor() as cursor:
            cursor.execute("CREATE TABLE leftover ()")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    [[table]] = benchmark_database.sql("SELECT to_regclass('leftover')")
    assert table is None
