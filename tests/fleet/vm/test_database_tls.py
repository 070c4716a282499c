"""How a VM connects to a PostgreSQL with TLS: by the trials' URI, and by psql's service file."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fleet.vm.render import Startup
from tests.fleet.vm.gate import Gate, gate
from tests.fleet.vm.test_startup import PLAIN, decoded

HOST = "db.example.com"


def certify(directory: Path, host: str) -> Path:
    """Create a self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = directory / f"{host}.pem"
    secret = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    file.write_bytes(certificate.public_bytes(pem) + secret)
    return file


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certify(tmp_path_factory.mktemp("certificate"), HOST)


@pytest.fixture(scope="module")
def server(benchmark_database: Any, certificate: Path) -> Iterator[Gate]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with gate(int(urlsplit(benchmark_database.uri).port or 0), tls=tls) as server:
        yield server


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
def connect(request, server, benchmark_database, tmp_path, monkeypatch) -> Any:
    """Connect as a VM does to `host`, trusting the certificates in `trusted`."""
    monkeypatch.setenv("PGSERVICEFILE", "")
    monkeypatch.setenv("PGPASSFILE", "")
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    login = benchmark_database.uri.split("//")[1].split("@")[0]

    def connect(host: str, trusted: Path) -> bool:
        monkeypatch.setenv(
            "PGSSLROOTCERT", str(trusted)
        )  # as the script does with its certificates
        uri = f"postgresql://{login}@{host}:{server.port}/powerlift"
        startup = replace(PLAIN, uri=uri, root_certificates=trusted.read_text())
        arguments = request.param(startup, tmp_path)
        with closing(psycopg2.connect(**arguments)) as database:
            return bool(database.info.ssl_in_use)

    return connect


def test_connects_with_tls_to_the_server_that_it_trusts(connect, certificate):
    assert connect(HOST, certificate)


def test_sends_no_password_to_a_server_with_another_name(connect, certificate):
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        connect("other.example.com", certificate)
