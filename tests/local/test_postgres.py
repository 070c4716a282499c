"""Local PostgreSQL: real servers in temporary directories."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg2
import pytest

from local.postgres import Postgres
from local.postgres_data import scratch_of
from local.process import ServiceError


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Postgres(tmp_path_factory.mktemp("state")) as postgres:
        yield postgres


def ask(uri: str, statement: str) -> str:
    database = psycopg2.connect(uri, connect_timeout=5)
    try:
        with database.cursor() as cursor:
            cursor.execute(statement)
            return str(cursor.fetchone()[0])
    finally:
        database.close()


def test_has_the_database_powerlift(server):
    assert ask(server.uri(), "SELECT current_database()") == "powerlift"


def test_has_enough_connections_for_a_large_fleet(server):
    assert int(ask(server.uri(), "SHOW max_connections")) >= 600


def test_rejects_another_password(server):
    user, _, address = server.uri().rpartition("@")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        ask(f"{user}x@{address}", "SELECT 1")


def test_listens_only_on_the_loopback(server):
    assert ask(server.uri(), "SHOW listen_addresses") == "127.0.0.1"


def test_has_no_unix_socket(server):
    assert ask(server.uri(), "SHOW unix_socket_directories") == ""


def test_includes_psql(server):
    argv = [server.bin / "psql", server.uri(), "-Atc", "SELECT 42"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b"42\n"


def test_the_password_file_is_private(server):
    assert (server.state_dir / "postgres.json").stat().st_mode & 0o077 == 0


def test_the_password_is_not_in_the_process_list(server):
    password = server.uri().split(":")[2].split("@")[0]
    shown = subprocess.run(["ps", "axww"], capture_output=True, check=True).stdout
    assert password not in shown.decode()


@pytest.fixture(scope="module")
def open_dir():
    """A directory that all users can access; otherwise, as root, the data would not persist."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "state"


@pytest.mark.long
def test_data_persist(open_dir):
    with Postgres(open_dir) as first:
        database = psycopg2.connect(first.uri())
        with database, database.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 7 AS n")
        database.close()
    with Postgres(open_dir) as second:
        assert (ask(second.uri(), "SELECT n FROM kept"), second.uri()) == ("7", first.uri())


@pytest.mark.long
def test_copied_data_have_their_own_password(tmp_path, open_dir):
    for name in ("first", "second"):
        with Postgres(open_dir / name, tmp_path / "cache") as server:
            ask(server.uri(), "SELECT current_database()")
            user, _, address = server.uri().rpartition("@")
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                ask(f"{user}x@{address}", "SELECT 1")
            log = (server.state_dir / "postgres.log").read_text()
            assert (
                json.loads((server.state_dir / "postgres.json").read_text())["password"] not in log
            )


def test_uses_another_port_if_its_own_is_in_use(open_dir):
    with Postgres(open_dir) as first:
        port = int(first.uri().split(":")[3].split("/")[0])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with Postgres(open_dir) as second:
            assert ask(second.uri(), "SELECT 1") == "1"


def test_stops_with_open_connections(open_dir):
    postgres = Postgres(open_dir)
    postgres.start()
    database = psycopg2.connect(postgres.uri())
    postgres.stop()
    with pytest.raises(psycopg2.OperationalError):
        database.cursor().execute("SELECT 1")


def test_stop_is_idempotent(open_dir):
    postgres = Postgres(open_dir)
    postgres.stop()
    postgres.start()
    postgres.stop()
    postgres.stop()


def test_data_in_a_private_directory_survive_the_death_of_their_server(tmp_path):
    """As root, the data are elsewhere while the server runs."""
    code = (
        "import sys, os, psycopg2; from pathlib import Path; from local.postgres import Postgres\n"
        "p = Postgres(Path(sys.argv[1])); p.start(); d = psycopg2.connect(p.uri())\n"
        "with d: d.cursor().execute('CREATE TABLE kept AS SELECT 7 AS n')\n"
        "os.kill(p._process.pid, 9); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "state")], check=False)
    for _ in range(2):
        with Postgres(tmp_path / "state") as postgres:
            assert ask(postgres.uri(), "SELECT n FROM kept") == "7"
    assert scratch_of(tmp_path / "state") is None


def test_an_interrupted_first_start_is_repeated(tmp_path):
    data = tmp_path / "state" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18")
    with Postgres(tmp_path / "state") as postgres:
        assert ask(postgres.uri(), "SELECT 1") == "1"


def test_the_error_contains_the_log(tmp_path):
    tmp_path.chmod(0o755)
    postgres = Postgres(tmp_path)
    postgres.bin = tmp_path / "bin"
    postgres.bin.mkdir()
    for name in ("initdb", "postgres"):
        program = postgres.bin / name
        program.write_text("#!/bin/sh\necho the disk is full; exit 1\n")
        program.chmod(0o755)
    with pytest.raises(ServiceError, match="the disk is full"):
        postgres.start()


def test_stops_with_the_process_that_started_it(open_dir):
    code = (
        "import sys, os, time; from pathlib import Path; from local.postgres import Postgres\n"
        "p = Postgres(Path(sys.argv[1])); p.start(); print(p._process.pid, flush=True); os._exit(9)"
    )
    argv = [sys.executable, "-c", code, str(open_dir)]
    pid = int(subprocess.run(argv, capture_output=True, check=False).stdout)
    deadline = time.monotonic() + 15
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
