"""Remote servers: certificates and password authentication."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from fleet.store.database import DatabaseUnreachable, connected, rows
from tests.fleet.certificates import Authority
from tests.fleet.store.conftest import ELSEWHERE, Serve
from tests.fleet.vm.test_startup import PLAIN, rendered, value


def user_of(uri: str) -> str:
    """Connect. Raises DatabaseUnreachable."""
    with connected(uri) as database, database.cursor() as cursor:
        return str(rows(cursor, "SELECT current_user")[0][0])


@pytest.mark.parametrize("query", ["", "?sslmode=require", "?sslmode=verify-full"])
def test_a_server_with_a_valid_certificate_is_accepted(serve: Serve, query: str):
    assert user_of(serve("scram") + query) == "scram"


@pytest.mark.parametrize("query", ["", "?sslmode=require"])
def test_a_certificate_of_an_untrusted_authority_is_rejected(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str
):
    other = tmp_path / "other.pem"
    other.write_text(Authority().pem)
    monkeypatch.setenv("FLEET_DB_ROOT_CERT", str(other))
    with pytest.raises(DatabaseUnreachable, match="trusted root. Set FLEET_DB_ROOT_CERT"):  # noqa: RUF043
        user_of(serve("scram") + query)


def test_by_default_the_roots_of_the_system_are_trusted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("FLEET_DB_ROOT_CERT")
    with pytest.raises(DatabaseUnreachable, match="not signed by a trusted root"):
        user_of(serve("scram"))


def test_a_certificate_for_another_name_is_rejected(serve: Serve):
    with pytest.raises(DatabaseUnreachable, match="is for another host name"):
        user_of(serve("scram", host="db.example.org"))


def test_a_server_without_tls_is_rejected(benchmark_database: Any):
    with pytest.raises(DatabaseUnreachable, match="does not offer TLS, so no password was sent"):
        user_of(benchmark_database.uri.replace("127.0.0.1", ELSEWHERE))


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("clear", "asked for the password in clear text"),
        ("hashed", "or as MD5"),
        ("trusted", "did not ask for the password"),
    ],
)
def test_other_authentication_methods_do_not_get_the_password(serve: Serve, role: str, reason: str):
    with pytest.raises(DatabaseUnreachable, match=reason):
        user_of(serve(role))


def test_a_missing_root_certificate_file_is_reported(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLEET_DB_ROOT_CERT", "/missing.pem")
    with pytest.raises(DatabaseUnreachable, match="FLEET_DB_ROOT_CERT"):
        user_of(serve("scram"))


def test_a_wrong_password_is_not_reported_as_a_tls_error(serve: Serve):
    with pytest.raises(DatabaseUnreachable, match="rejected the user or password"):
        user_of(serve("scram", password=":wrong"))


@pytest.mark.parametrize("role", ["clear", "hashed"])
def test_the_trials_of_a_vm_send_no_password_in_clear_text(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
):
    """With the values and the libpq (16 or newer) of a VM; the script exports what is set here."""
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "root.pem"))

    def connect(role: str) -> None:
        startup = replace(PLAIN, uri=serve(role), root_certificates="those of `serve`")
        monkeypatch.setenv("PGREQUIREAUTH", value(startup, "REQUIRE_AUTH"))
        psycopg2.connect(rendered(startup)["DB_URL"]).close()

    connect("scram")
    with pytest.raises(psycopg2.OperationalError, match="authentication method requirement"):
        connect(role)
