"""Database servers that a request may use."""

from __future__ import annotations

import pytest

from fleet.api.request import InvalidRequest
from fleet.model.database_uri import server_of
from tests.fleet.api.deployment import (
    CALLER,
    HOST,
    OTHER,
    refused,
)


def test_function_key_cannot_become_holder_of_the_deployments_database_password():
    account = {**CALLER, "subscription_id": OTHER, "resource_group": "theirs"}
    assert refused({"azure_json": account}) == {"/uri": "FLEET_ALLOWED_GROUPS"}
    assert refused({"azure_json": account}, FLEET_ALLOWED_GROUPS=f"/subscriptions/{OTHER}") == {}


ORACLES = [
    "postgresql://u:p@10.0.0.4/db",
    "postgresql://u:p@localhost/db",
    f"postgresql://u:p@{HOST}:22/db",
    f"postgresql://u:p@{HOST}.evil.com/db",
    f"postgresql://u:p@evil.com,{HOST}/db",
    f"postgresql://u:p@{HOST}/db?host=evil.com",
    f"postgresql://u:p@{HOST}/db?hostaddr=10.0.0.4",
    f"postgresql://u:p@{HOST}/db?port=22",
    f"postgresql://u:p@{HOST}/db?service=other",
    f"postgresql://{HOST}?@evil.com/db",
    f"postgresql://{HOST}#@evil.com/db",
    f"postgresql://a@evil.com,x@{HOST}/db",
    f"postgresql://u:p/@{HOST}/db",
    f"postgresql://x@{HOST}?application_name=a@evil.com/app",
    f"postgresql://{HOST}:5432/db@evil.com/x",
    "postgresql://u:p@%66leetdb.postgres.database.azure.com/db",
    "postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/db",
    "postgresql://u:p@[::1]/db",
]


@pytest.mark.parametrize("uri", ORACLES)
def test_uri_cannot_reach_another_server(uri: str):
    try:
        found = refused({"uri": uri})
    except InvalidRequest as invalid:
        found = {fault["pointer"]: "" for fault in invalid.faults}
    assert list(found) == ["/uri"]


@pytest.mark.parametrize(
    ("allowed", "host", "passes"),
    [
        ("*", "anything:22", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "db.example.org:5433", False),
        ("*.example.org:*", "db.example.org:5433", True),
        ("db.example.org:6432, other", "OTHER:5432", True),
        ("[::1]", "[::1]:5432", True),
        ("[::1]", "[::1]:5433", False),
        ("[0:0::1]:05432", "[::1]", True),
        ("db.example.org.:06432", "DB.example.org:6432", True),
        ("db.example.org", "db.example.org.:05432", True),
        ("[::1]:*", "[::1]:5433", True),
        ("none", HOST, False),
    ],
)
def test_operator_may_allow_other_servers(allowed: str, host: str, passes: bool):
    found = refused({"uri": f"postgresql://u:p@{host}/db"}, FLEET_ALLOWED_DATABASES=allowed)
    assert (found == {}) == passes


def test_default_server_may_have_an_ipv6_address_and_a_port():
    own = {"POWERLIFT_DB_URI": "postgresql://app:pw@[fd00::1]:6432/powerlift"}
    ports = [
        refused({"uri": f"postgresql+psycopg2://u@[fd00::1]:{p}/x"}, **own) for p in (6432, 22)
    ]
    assert ports == [{}, {"/uri": "FLEET_ALLOWED_DATABASES"}]


def test_server_of_a_uri_is_the_server_that_libpq_connects_to():
    assert server_of("postgresql+psycopg2://u:p%40@DB.example.org/x?sslmode=require") == (
        "db.example.org:5432"
    )
