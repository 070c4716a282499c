"""The text of the script: the values in it, their encoding, and what it must not contain."""

from __future__ import annotations

import base64
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import make_url

import fleet.vm
from fleet.model.database_uri import ADDRESS, InvalidDatabaseUri, libpq_options
from fleet.model.order_parts import VmIdentity
from fleet.store.heartbeats import HEARTBEAT_TIMEOUT
from fleet.vm.render import (
    CUSTOM_DATA_LIMIT,
    KEEPALIVE,
    CustomDataTooLarge,
    Startup,
    custom_data,
    render,
)

PLAIN = Startup(
    experiment_id=17,
    runner_id=70_003,
    uri="postgresql://ada:s%3Acret@db.example.com:6543/bench?sslmode=require&application_name=a%20b",
    fleet_size=10,
    timeout=90.0,
    delete_on_complete=True,
    subscription_id="sub",
    resource_group="group",
    vm_name="powerlift-vm-7-0003",
    lock_key="key",
    resource_manager_endpoint="https://management.azure.com/",
)


SHELL = "".join(p.read_text() for p in (Path(fleet.vm.__file__).parent / "startup").glob("*.sh"))
CODE = re.sub(r"(?m)(^|\s)# .*$", "", SHELL)
FUNCTIONS = re.findall(r"(?m)^(\w+)\(\) [{(]", CODE)
COMMAND = re.compile(
    r"(?:^|&&|\|\||[;!{]|(?:\$|! )\(|\b(?:if|then|do|until|run_group|retry \S+)) *"
    r"([a-z]+_[a-z_]+)(?=$|[ ;)])(?! (?:=|text))",  # not a column in a query
    re.MULTILINE,
)
"""A command with an underscore, which no program of the VM has in its name."""


def value(startup: Startup, name: str) -> str:
    """The value that bash reads from the rendered script."""
    beginning = render(startup).partition("readonly HOME_DIR")[0]
    shown = subprocess.run(
        ["bash", "-c", f'{beginning}\nprintf %s "${name}"'], capture_output=True, check=True
    )
    return shown.stdout.decode()


def rendered(startup: Startup) -> dict[str, str]:
    """The values of the script that are base64."""
    found = re.findall(r"(?m)^readonly (\w+)_BASE64=(\S*)$", render(startup))
    return {name: base64.b64decode(text).decode() for name, text in found}


def decoded(startup: Startup, name: str) -> str:
    return base64.b64decode(value(startup, name)).decode()


@pytest.mark.parametrize("text", ["it's", "a b", "$(id)", "`id`", '"', "\\", "é"])
def test_values_reach_bash_unchanged(text):
    assert value(replace(PLAIN, resource_group=text), "RESOURCE_GROUP") == text


def test_the_script_is_deterministic():
    assert render(PLAIN) == render(replace(PLAIN))


def test_repr_hides_the_uri():
    assert "s%3Acret" not in repr(PLAIN)


def test_the_script_contains_no_readable_uri():
    assert "s%3Acret" not in render(PLAIN)


def test_no_timeout_is_a_number_that_every_runner_accepts():
    assert float(value(replace(PLAIN, timeout=None), "TIMEOUT")) == 1e9


@pytest.mark.parametrize("size", [1, 1200, 1201, 5000])
def test_database_logins_for_heartbeats_are_bounded_for_5000_vms(size):
    """The fleet still requires more than one missing heartbeat to detect a silent VM."""
    interval = int(value(replace(PLAIN, fleet_size=size), "HEARTBEAT_SECONDS"))
    assert size / interval <= 20
    assert 60 <= interval <= HEARTBEAT_TIMEOUT / 4


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(60.0, 660), (10_000.0, 11_000), (86_400.0, 90_000), (None, 10**9), (1e300, 10**9)],
)
def test_a_trial_is_overdue_after_its_timeout_and_ten_minutes_to_an_hour(timeout, seconds):
    assert int(value(replace(PLAIN, timeout=timeout), "OVERDUE_SECONDS")) == seconds


@pytest.mark.parametrize(("wanted", "word"), [(True, "true"), (False, "false")])
def test_delete_on_complete_is_passed_to_the_script(wanted, word):
    assert value(replace(PLAIN, delete_on_complete=wanted), "DELETE_ON_COMPLETE") == word


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgres://u@h/d", "postgresql://u@h/d"),
        ("postgresql+psycopg2://u@h/d", "postgresql+psycopg2://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+asyncpg://u@h/d", "postgresql://u@h/d"),
        (
            "postgresql://u@h/a:b/\u00e9",
            "postgresql://u@h/a:b/\u00e9",
        ),  # SQLAlchemy 2.0 decodes no name
    ],
)
def test_sqlalchemy_gets_a_dialect_with_an_installed_driver(given, taken):
    assert decoded(replace(PLAIN, uri=given), "DB_URL_BASE64").partition("?")[0] == taken


TEXTS = (
    "a evil.com : @ / ? = & % %40 %2F %3A %3F [ ] ::1 5432 é + \\ application_name options %2Frun"
)
PARTS = st.lists(st.sampled_from(TEXTS.split()), max_size=6).map("".join)
URIS = st.tuples(PARTS, st.sampled_from(["db.example.com", "[fd00::1]", "%2Frun%2Fpg"]), PARTS).map(
    lambda parts: "postgresql://{}{}{}".format(*parts)
)
IDENTITY: VmIdentity = {"id": "/subscriptions/s/i", "database_user": "vms@example.com"}


@settings(
    max_examples=500, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(URIS, st.booleans())
@example("postgresql://x@db.example.com?application_name=a@evil.com/app", True)
@example("postgresql://db.example.com:5432/db@evil.com/x", False)
@example("postgresql://u:p@db.example.com/a?application_name=b@evil.com/x", False)
@example(
    "postgresql+psycopg://u%40evil.com:p%2F%3A%40@db.example.com/x%3Fhost=evil.com%40a/b", False
)
@example("postgresql://:p@db.example.com:05432/", False)
@example("postgresql://%2Frun%2Fpg:6432/a%20b", False)
def test_the_vm_connects_to_the_host_that_the_policy_checked(uri: str, by_identity: bool):
    try:
        checked = libpq_options(uri)
    except InvalidDatabaseUri:
        return
    if by_identity and "password" not in checked:
        checked["user"] = IDENTITY["database_user"]
        startup = replace(PLAIN, uri=uri, database_identity=IDENTITY)
    else:
        startup = replace(PLAIN, uri=uri)
    values = rendered(startup)
    url = make_url(values["DB_URL"])
    psycopg = PGDialect_psycopg2(dbapi=psycopg2).create_connect_args(url)[1]
    libpq = parse_dsn(re.sub(r"^(\w+)\+\w+", r"\1", values["DB_URL"]))
    service = dict(line.split("=", 1) for line in values["PG_SERVICE"].splitlines()[1:])
    for name in ADDRESS:
        wanted = checked.get(name)
        found = [str(by[name]) if by.get(name) else None for by in (psycopg, libpq, service)]
        assert found == [wanted, wanted, None if name == "password" else wanted]


def test_a_connection_dropped_by_nat_is_detected_within_a_minute():
    """Azure's NAT drops connections that are idle for 4 minutes, and a trial takes longer."""
    options = parse_qs(urlsplit(decoded(PLAIN, "DB_URL_BASE64")).query)
    assert {name: options[name] for name in KEEPALIVE} == {
        one: [what] for one, what in KEEPALIVE.items()
    }


def test_connection_parameters_in_the_uri_take_precedence():
    startup = replace(PLAIN, uri="postgresql://u@h/d?keepalives_idle=5&connect_timeout=3")
    options = parse_qs(urlsplit(decoded(startup, "DB_URL_BASE64")).query)
    assert (options["keepalives_idle"], options["connect_timeout"]) == (["5"], ["3"])


def test_psql_gets_everything_but_the_password_as_a_service():
    service = decoded(PLAIN, "PG_SERVICE_BASE64")
    wanted = {
        **KEEPALIVE, **VERIFIED, "gssencmode": "disable", "application_name": "a b",
        "host": "db.example.com", "port": "6543", "user": "ada", "dbname": "bench",
    }  # fmt: skip
    head, *lines = service.splitlines()
    assert (head, sorted(lines)) == ("[powerlift]", sorted(f"{k}={v}" for k, v in wanted.items()))


VERIFIED = {"sslmode": "verify-full", "sslrootcert": "/etc/ssl/certs/ca-certificates.crt"}


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("db.example.com", VERIFIED),
        ("db.example.com/d?sslmode=require", VERIFIED),
        ("127.evil.example.com", VERIFIED),
        ("127.0.0.1", {}),
        ("127.0.0.1/d?sslmode=require", {"sslmode": "require"}),
        ("[::1]", {}),
        ("%2Frun%2Fpostgresql/d", {}),
    ],
)
def test_psql_and_the_trials_verify_a_remote_server(place, wanted):
    startup = replace(PLAIN, uri=f"postgresql://u@{place}")
    service = decoded(startup, "PG_SERVICE_BASE64").splitlines()[1:]
    query = urlsplit(decoded(startup, "DB_URL_BASE64")).query
    found = [dict(line.split("=", 1) for line in service), dict(parse_qsl(query))]
    tls = [{k: v for k, v in options.items() if k.startswith("ssl")} for options in found]
    assert tls == [wanted, wanted]


def test_the_deployments_root_certificates_replace_the_images():
    startup = replace(PLAIN, root_certificates="a PEM file")
    values = [decoded(startup, name) for name in ("DB_URL_BASE64", "PG_SERVICE_BASE64")]
    assert ["sslrootcert" in value for value in values] == [False, False]
    assert decoded(startup, "ROOT_CERTIFICATES_BASE64") == "a PEM file"


def test_psql_gets_the_password_in_a_pgpass_file():
    assert decoded(PLAIN, "PG_PASSWORD_BASE64") == "*:*:*:*:s\\:cret\n"


def test_without_a_password_there_is_no_pgpass_line():
    startup = replace(PLAIN, uri="postgresql://ada@db.example.com/bench")
    assert decoded(startup, "PG_PASSWORD_BASE64") == ""


@pytest.mark.parametrize(
    "uri",
    ["mysql://u:sesame@h/d", "postgresql://u:sesame@h:port/d", "postgresql://u:sesame%0A@h/d"],
)
def test_other_uris_are_rejected_and_not_quoted(uri):
    with pytest.raises(ValueError, match=r"URI|PostgreSQL") as error:
        render(replace(PLAIN, uri=uri))
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_shell_function_is_called(name):
    assert re.search(rf"(?<![\w/.]){name}(?![\w.=(])", CODE)


def test_every_shell_function_that_is_called_is_defined():
    assert set(COMMAND.findall(CODE)) - set(FUNCTIONS) == set()


def test_custom_data_is_base64():
    assert base64.b64decode(custom_data("#!/bin/bash\né")).decode() == "#!/bin/bash\né"


def test_custom_data_may_have_65535_bytes():
    assert custom_data("x" * 65_535)


def test_oversized_custom_data_is_rejected():
    with pytest.raises(CustomDataTooLarge, match="65536 bytes"):
        custom_data("x" * 65_536)


def test_the_script_leaves_room_for_long_values():
    """A URI of 2,048 characters, in three forms, and root certificates."""
    assert CUSTOM_DATA_LIMIT - len(render(PLAIN)) > 16_000
