"""A database with the app's tables; a PostgreSQL server with TLS on an address that is not loopback."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from fleet.store import schema
from local.postgres import Postgres
from local.stack import CACHE
from tests.fleet.certificates import Authority
from tests.fleet.conftest import Benchmark
from tests.harness import eventually
from tests.relay import tls_relay

ELSEWHERE = "0.0.0.0"
"""Leads to this machine, wherever the tests run, and is no loopback address."""
LOGINS = {"scram": "scram-sha-256", "clear": "password", "hashed": "md5", "trusted": "trust"}
"""Roles, and how the server asks for their password."""
_numbers = itertools.count()


@pytest.fixture(scope="session")
def make_database(benchmark_database: Benchmark) -> Callable[[], str]:
    """Creates an empty database and returns its name."""

    def create() -> str:
        name = f"fresh_{next(_numbers)}"
        server = psycopg2.connect(benchmark_database.uri)
        server.autocommit = True  # CREATE DATABASE refuses a transaction
        server.cursor().execute(f"CREATE DATABASE {name}")
        server.close()
        return name

    return create


@pytest.fixture
def new_database(make_database: Callable[[], str]) -> str:
    return make_database()


@pytest.fixture
def database(benchmark_database: Benchmark, new_database: str) -> Benchmark:
    """A database with Powerlift's tables, which no fleet has used."""
    return Benchmark(benchmark_database.postgres, new_database)


@pytest.fixture(scope="session")
def make_uri(benchmark_database: Benchmark, make_database: Callable[[], str]) -> Callable[[], str]:
    """Creates a database with the app's own table and no others, and returns its URI."""

    def create() -> str:
        fresh = benchmark_database.postgres.uri(make_database())
        schema.migrate(fresh, schema.APP)
        return fresh

    return create


@pytest.fixture
def uri(make_uri: Callable[[], str]) -> str:
    return make_uri()


class Logins:
    """A PostgreSQL that asks for passwords in several ways."""

    def __init__(self, postgres: Postgres) -> None:
        self._uri = postgres.uri()
        self.port = int(self._uri.rpartition(":")[2].partition("/")[0])
        lines = ["host all postgres all scram-sha-256"]
        for role, method in LOGINS.items():
            lines.append(f"host all {role} all {method}")
            stored = method if method == "md5" else LOGINS["scram"]
            self.sql(f"SET password_encryption = '{stored}'; CREATE ROLE {role} LOGIN")
            self.set_password(role, "secret", stored)
        rows = "SELECT unnest(string_to_array(%s, E'\\n'))"
        self.sql(f"COPY ({rows}) TO PROGRAM 'cat > pg_hba.conf'", "\n".join(lines))
        self.sql("SELECT pg_reload_conf()")
        eventually(self._is_reloaded)

    def set_password(self, role: str, password: str, stored: str = LOGINS["scram"]) -> None:
        self.sql(f"SET password_encryption = '{stored}'; ALTER ROLE {role} PASSWORD %s", password)

    def sql(self, statement: str, *values: Any) -> None:
        database = psycopg2.connect(self._uri)
        database.autocommit = True
        with database.cursor() as cursor:
            cursor.execute(statement, values)
        database.close()

    def _is_reloaded(self) -> bool | None:
        try:
            psycopg2.connect(f"postgresql://trusted@127.0.0.1:{self.port}/powerlift").close()
        except psycopg2.OperationalError:
            return None
        return True


@pytest.fixture(scope="session")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logins]:
    with Postgres(tmp_path_factory.mktemp("logins"), CACHE) as postgres:
        yield Logins(postgres)


Serve = Callable[..., str]


@pytest.fixture
def serve(logins: Logins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """The URI of a role at a server whose certificate is for `host`, of a root that the app trusts."""
    authority = Authority()
    root = tmp_path / "root.pem"
    root.write_text(authority.pem)
    monkeypatch.setenv("FLEET_DB_ROOT_CERT", str(root))
    with ExitStack() as servers:

        def uri(role: str, password: str = ":secret", host: str = ELSEWHERE) -> str:
            file = tmp_path / "server.pem"
            file.write_text("".join(authority.issue(host)))
            relay = tls_relay(("127.0.0.1", logins.port), str(file))
            port = servers.enter_context(relay)
            return f"postgresql://{role}{password}@{ELSEWHERE}:{port}/powerlift"

        yield uri
