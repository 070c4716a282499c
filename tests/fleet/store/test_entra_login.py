"""Databases without a password: the app logs in with a token of the simulator's Entra."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.fernet import Fernet

from fleet.model.database_uri import libpq_options
from fleet.store import database_identity
from fleet.store.database import DatabaseTokenUnavailable, DatabaseUnreachable, connected, rows
from fleet.store.database_identity import token_for
from tests.fleet.store.conftest import Logins, Serve
from tests.local.azure.driver import Driver
from tests.local.azure.driver import serve as serve_azure
from tests.relay import silent_server


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    service, driver = serve_azure(tmp_path_factory.mktemp("azure"), "--machines", "none")
    yield driver
    service.stop()


@pytest.fixture
def uri(serve: Serve, azure: Driver, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The app's own database, which asks for the password in clear text, as Azure's does for a token."""
    own = serve("clear", password="")
    settings = {"FLEET_SEALING_KEY": Fernet.generate_key().decode(), "POWERLIFT_DB_URI": own}
    for name, value in {**azure.ready["env"], **settings}.items():
        monkeypatch.setenv(name, value)
    database_identity._identity.cache_clear()
    yield own
    database_identity._identity.cache_clear()


def token_of(uri: str) -> str:
    options = libpq_options(uri)
    return token_for(options["host"], options["port"])


def log_in(uri: str) -> Any:
    """Raises DatabaseUnreachable."""
    with connected(uri) as database, database.cursor() as cursor:
        return rows(cursor, "SELECT current_user")[0][0]


def test_a_token_of_the_app_is_the_password(uri: str, logins: Logins):
    logins.set_password("clear", token_of(uri))
    assert log_in(uri) == "clear"


def test_the_token_is_for_databases(uri: str):
    claims = jwt.decode(token_of(uri), options={"verify_signature": False})
    assert (claims["aud"], claims["idtyp"]) == ("https://ossrdbms-aad.database.windows.net", "app")


def test_a_token_is_reused(uri: str):
    assert token_of(uri) == token_of(uri)


def test_an_unknown_identity_is_reported(uri: str, logins: Logins):
    logins.set_password("clear", "something else")
    with pytest.raises(DatabaseUnreachable, match="pgaadauth_create_principal"):
        log_in(uri)


@pytest.mark.parametrize(
    "server", ["evil.example.org", "postgres.database.azure.com.evil.org", "0.0.0.0:1"]
)
def test_a_token_is_sent_to_no_other_server(uri: str, server: str):
    with pytest.raises(DatabaseUnreachable, match="only to Azure Database for PostgreSQL"):
        log_in(f"postgresql://clear@{server}/powerlift")


def test_azures_servers_get_a_token(uri: str):
    assert token_for("Fleets.postgres.database.azure.com", None) == token_of(uri)


def test_a_server_without_clear_text_authentication_gets_no_token(uri: str):
    with pytest.raises(DatabaseUnreachable, match="a role for Entra"):
        log_in(uri.replace("clear@", "scram@"))


def test_a_missing_token_is_reported_with_the_reason(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong-s3cret")
    with pytest.raises(DatabaseTokenUnavailable, match="AADSTS7000215") as raised:
        log_in(uri)
    assert "wrong-s3cret" not in str(raised.value)


def test_an_unresponsive_entra_times_out_at_the_deadline(uri: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(database_identity, "TOKEN_TIMEOUT", 0.2)
    with silent_server() as place:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"https://{place}")
        with pytest.raises(DatabaseTokenUnavailable, match="no Entra token"):
            log_in(uri)
