"""Tokens and discovery."""

from __future__ import annotations

import jwt
import pytest
import requests
from azure.identity import ManagedIdentityCredential

from tests.local.azure.driver import Driver, code


def test_token_is_a_jwt_of_the_application(azure: Driver) -> None:
    claims = jwt.decode(azure.token(), options={"verify_signature": False})

    assert (claims["oid"], claims["tid"]) == (
        azure.ready["client_object_id"],
        azure.ready["tenant_id"],
    )


def test_token_can_be_verified_with_the_published_key(azure: Driver) -> None:
    keys = azure.bare("GET", f"/{azure.ready['tenant_id']}/discovery/v2.0/keys").json()

    key = jwt.PyJWK(keys["keys"][0])

    assert jwt.decode(azure.token(), key, algorithms=["RS256"], options={"verify_aud": False})


@pytest.mark.parametrize(
    ("change", "status", "number"),
    [
        ({"client_secret": "wrong"}, 401, 7000215),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, 400, 700016),
        ({"grant_type": "password"}, 400, 70003),
    ],
)
def test_token_is_rejected(azure: Driver, change: dict[str, str], status: int, number: int) -> None:
    answer = azure.ask_token(**change)

    assert (answer.status_code, answer.json()["error_codes"]) == (status, [number])


def test_unknown_tenant_is_rejected(azure: Driver) -> None:
    answer = azure.bare("GET", "/nobody/v2.0/.well-known/openid-configuration")

    assert answer.json()["error_codes"] == [90002]


def test_cloud_metadata_is_one_object_with_our_url(azure: Driver) -> None:
    answer = azure.bare("GET", "/metadata/endpoints", params={"api-version": "2022-09-01"})

    assert answer.json()["authentication"]["loginEndpoint"] == azure.base


def test_instance_discovery_leads_to_the_tenant(azure: Driver) -> None:
    answer = azure.bare("GET", "/common/discovery/instance", params={"api-version": "1.1"})

    found = azure.send("GET", answer.json()["tenant_discovery_endpoint"]).json()
    assert found["token_endpoint"].startswith(azure.base)


def test_request_without_token_is_challenged(azure: Driver) -> None:
    answer = azure.bare("GET", azure.group, params={"api-version": "2025-04-01"})

    assert (answer.status_code, code(answer)) == (401, "AuthenticationFailed")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")


@pytest.mark.parametrize("token", ["nonsense", "e30.e30.e30"])
def test_forged_token_is_rejected(azure: Driver, token: str) -> None:
    answer = azure.send("GET", azure.group, headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, code(answer)) == (401, "InvalidAuthenticationToken")


def test_no_token_for_an_unknown_resource(azure: Driver) -> None:
    answer = azure.ask_token(scope="https://no.such.resource/.default")
    assert (answer.status_code, answer.json()["error_codes"]) == (400, [500011])


def test_token_for_another_audience_is_rejected(azure: Driver) -> None:
    token = azure.ask_token(scope="https://vault.azure.net/.default").json()["access_token"]

    answer = azure.send("GET", azure.group, headers={"Authorization": f"Bearer {token}"})

    assert code(answer) == "InvalidAuthenticationTokenAudience"


def managed(azure: Driver, header: str | None = None, **query: str) -> requests.Response:
    """A request to the endpoint of a site's managed identity, with parts changed."""
    ready = azure.ready
    given = {"client_id": ready["client_id"], "resource": "https://management.azure.com/", **query}
    own = ready["managed_identity_env"]["IDENTITY_HEADER"]
    headers = {"X-IDENTITY-HEADER": own if header is None else header}
    return azure.bare("GET", "/msi/token", params=given, headers=headers)


def test_the_sdk_gets_a_token_of_a_managed_identity(
    azure: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azure.ready["managed_identity_env"].items():
        monkeypatch.setenv(name, value)
    options = {"connection_verify": azure.ready["ca_bundle"]}
    credential = ManagedIdentityCredential(client_id=azure.ready["client_id"], **options)
    headers = {
        "Authorization": f"Bearer {credential.get_token('https://management.azure.com/.default').token}"
    }
    assert (
        azure.bare("GET", f"{azure.group}?api-version=2021-04-01", headers=headers).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 200),
        ({"header": "wrong"}, 401),
        ({"client_id": ""}, 400),
        ({"client_id": "11111111-2222-4333-8444-555555555555"}, 400),
        ({"resource": "https://example.org"}, 400),
    ],
)
def test_a_managed_identity_is_named_by_its_client_id(
    azure: Driver, changes: dict[str, str], status: int
) -> None:
    assert managed(azure, **changes).status_code == status
