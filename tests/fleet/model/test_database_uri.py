"""Which database URIs are allowed, and what they mean to libpq."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.model.database_uri import (
    OPTIONS,
    PATTERN,
    InvalidDatabaseUri,
    is_this_machine,
    libpq_options,
    server_of,
)

VERIFIED = {
    "sslmode": "verify-full",
    "sslrootcert": "system",
    "gssencmode": "disable",
    "require_auth": "scram-sha-256",
}


def test_a_remote_server_is_verified():
    found = libpq_options("postgresql+psycopg2://ada:s%3Acret@db.example.com:6543/bench")
    named = {"host": "db.example.com", "port": "6543", "user": "ada", "password": "s:cret"}
    assert found == {**named, "dbname": "bench", **VERIFIED}


def test_a_remote_server_has_a_root_certificate_file():
    found = libpq_options("postgresql://u:p@host/d", "/roots.pem")
    assert found["sslrootcert"] == "/roots.pem"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "%2Frun%2Fpg"])
def test_a_local_server_does_not_require_tls(host: str):
    found = libpq_options(f"postgresql://u:p@{host}/d")
    assert found.keys() == {"host", "user", "password", "dbname", "gssencmode"}


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "10.0.0.1", "127.0.0.1.example.com", "localhost.evil.org", "[fd00::1]"]
)
def test_any_other_host_requires_tls(host: str):
    assert libpq_options(f"postgresql://u:p@{host}/d")["sslmode"] == "verify-full"


def test_a_socket_keeps_its_upper_case():
    assert libpq_options("postgresql://u@%2FVar%2FRun/d")["host"] == "/Var/Run"


def test_a_host_without_a_password_gets_a_token_in_clear_text_within_tls():
    found = libpq_options("postgresql://app@db.example.com/d")
    assert (found["require_auth"], found["sslmode"], "password" in found) == (
        "password",
        "verify-full",
        False,
    )


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_mode_with_tls_becomes_the_strictest(mode: str):
    assert libpq_options(f"postgresql://u:p@h/d?sslmode={mode}")["sslmode"] == "verify-full"


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_a_mode_without_tls_is_rejected(mode: str):
    with pytest.raises(InvalidDatabaseUri, match="Omit sslmode"):
        libpq_options(f"postgresql://u:p@h/d?sslmode={mode}")


def test_a_local_server_may_use_any_mode():
    assert libpq_options("postgresql://u:p@localhost/d?sslmode=disable")["sslmode"] == "disable"


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"sslmode"}))
def test_known_options_are_kept(name: str):
    assert libpq_options(f"postgresql://u:p@h/d?{name}=a%20b")[name] == "a b"


@pytest.mark.parametrize(
    "name",
    [
        "host", "hostaddr", "port", "service", "servicefile", "passfile", "sslcert", "sslkey",
        "sslrootcert", "sslcrl", "sslpassword", "require_auth", "gssencmode", "krbsrvname", "user",
        "password", "dbname", "requiressl", "load_balance_hosts",
    ],
)  # fmt: skip
def test_a_known_option_is_refused_by_name_without_its_value(name: str):
    with pytest.raises(InvalidDatabaseUri, match=f"^Remove the option {name}\\. [A-Z]") as raised:
        libpq_options(f"postgresql://u:p@h/d?{name}=s3cret")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("name", ["client_encoding", "SSLMODE", "s3cret"])
def test_an_unknown_option_may_be_a_password_and_is_not_repeated(name: str):
    with pytest.raises(InvalidDatabaseUri, match="may have each of") as raised:
        libpq_options(f"postgresql://u:p@h/d?{name}=s3cret")
    assert name not in str(raised.value)


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:p@one,two/d",
        "postgresql://u:p@one%2Ctwo/d",
        "postgresql://u:p@one:5432,two:5433/d",
        "postgresql://u:p@%2Frun%2C10.0.0.1/d",
    ],
)
def test_exactly_one_host_is_allowed(uri: str):
    with pytest.raises(InvalidDatabaseUri, match="one host"):
        libpq_options(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://u:hid#den@h/d",
        "postgresql://u:hid[den@h/d",
        "postgresql://u:hidden@h:0/d",
        "postgresql://u:hidden@h:port/d",
        "postgresql://u:hidden@-h/d",
        "postgresql://u:hidden@h%20host%3Dx/d",
        "postgresql://u:hidden%0a@h/d",
        "postgresql://u:hid%ffden@h/d",
        "postgresql://u:hidden@h/d?hidden",
        "postgresql://u:hid?den=1@h/d",
        "postgresql://u:hidden@h/d?options=a&options=b",
        "postgresql://u:hidden@h/d?sslmode=hidden",
        "postgresql://u:hidden@h?application_name=a@evil.com/d",
        "postgresql://h:5432/hidden@evil.com/d",
        "postgresql://u:hidden@[fd00::1]evil.com/d",
        "postgresql://u:hid%den@h/d",
        "postgresql://u:hidden%@h/d",
        "postgresql://u:hidden@h/d%",
        "postgresql://u:hidden@h/d?options=50%",
        "postgresql://u:hidden@h/d?options=a+b",
        "postgresql://u:hidden@h/d?options=-csearch_path=hidden",
        "postgresql://u:hidden@h/d?options=",
        "postgresql://u:hidden@h/d?%6fptions=a",
        "postgresql://u:hidden@h/d%20",
        "postgresql://u:hidden@h:/d",
        "POSTGRESQL://u:hidden@h/d",
        "postgresql+psycopg.2://u:hidden@h/d",
        "mysql://u:hidden@h/d",
        "postgresql:///hidden",
        "",
    ],
)
def test_an_invalid_uri_is_rejected_and_not_repeated(uri: str):
    with pytest.raises(InvalidDatabaseUri) as raised:
        libpq_options(uri)
    assert "hid" not in str(raised.value)


@pytest.mark.parametrize(("host", "expected"), [("/tmp", True), ("LocalHost", True), ("h", False)])
def test_local_hosts(host: str, expected: bool):
    assert is_this_machine(host) is expected


@pytest.mark.parametrize(
    "place", ["h", "H", "h.", "h:5432", "h:05432", "H.:005432", "u@h", "u:p@h/d?options=a"]
)
def test_a_server_has_one_name_in_any_spelling(place: str):
    assert server_of(f"postgresql://{place}") == "h:5432"


@pytest.mark.parametrize("host", ["[FD00::1]", "[fd00:0:0::1]", "[fd00:0:0:0:0:0:0:1]"])
def test_an_ipv6_server_has_one_name(host: str):
    assert server_of(f"postgres://u:p@{host}:06432/d") == "fd00::1:6432"


def test_a_comma_in_the_password_names_no_other_host():
    assert libpq_options("postgresql://u:p,q@one/d")["password"] == "p,q"


def test_an_invalid_uri_has_no_server():
    assert server_of("postgresql://u:p@one,two/d") is None


def test_a_long_uri_is_matched_quickly():
    assert re.match(PATTERN, f"postgresql://{'a@' * 1000}{'b,' * 1000}") is None


def test_the_documentation_lists_the_options():
    text = (Path(__file__).parents[3] / "docs/request.md").read_text()
    section = text.partition("## Database URI")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall("`(.*?)`", row)} == set(OPTIONS)
