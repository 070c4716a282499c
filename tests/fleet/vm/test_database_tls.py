"""How a VM connects to a PostgreSQL with TLS: by the trials' URI, and by psql's service file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from fleet.vm.render import Startup
from tests.fleet.certificates import Authority
from tests.fleet.vm.test_startup import PLAIN, decoded
from tests.relay import tls_relay

HOST = "db.example.com"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def root(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("root") / "root.pem"
    file.write_text(authority.pem)
    return file


@pytest.fixture(scope="module")
def port(benchmark_database: Any, authority: Authority, root: Path) -> Iterator[int]:
    """The port of a PostgreSQL whose certificate is for HOST."""
    certificate = root.with_name("server.pem")
    certificate.write_text("".join(authority.issue(HOST)))
    target = "127.0.0.1", urlsplit(benchmark_database.uri).port or 0
    with tls_relay(target, str(certificate)) as port:
        yield port


def by_url(startup: Startup, directory: Path) -> dict[str, str]:
    return {"dsn": decoded(startup, "DB_URL_BASE64")}


def by_service(startup: Startup, directory: Path) -> dict[str, str]:
    """libpq reads the files' names from the environment at each connection."""
    for name, file in (("SERVICE", "PGSERVICEFILE"), ("PASSWORD", "PGPASSFILE")):
        path = directory / name
        path.touch(mode=0o600)
        path.write_text(decoded(startup, f"PG_{name}_BASE64"))
        os.environ[file] = str(path)
    return {"service": "powerlift"}


@pytest.fixture(params=[by_url, by_service])
def connect(request, port, root, benchmark_database, tmp_path, monkeypatch) -> Any:
    """Connect as a VM does to `host`, trusting the authority's root."""
    monkeypatch.setenv("PGSERVICEFILE", "")
    monkeypatch.setenv("PGPASSFILE", "")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    login = benchmark_database.uri.split("//")[1].split("@")[0]

    def connect(host: str) -> bool:
        monkeypatch.setenv("PGSSLROOTCERT", str(root))  # as the script does with its certificates
        uri = f"postgresql://{login}@{host}:{port}/powerlift"
        startup = replace(PLAIN, uri=uri, root_certificates=root.read_text())
        arguments = request.param(startup, tmp_path)
        with closing(psycopg2.connect(**arguments)) as database:
            return bool(database.info.ssl_in_use)

    return connect


def test_a_trusted_server_is_used_with_tls(connect):
    assert connect(HOST)


def test_a_server_with_another_name_gets_no_password(connect):
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        connect("other.example.com")
