"""GET /api/health and /api/health/details: the checks, without values of settings."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import azure.durable_functions as df
import pytest
import requests
from cryptography.fernet import Fernet

from fleet.store import schema
from local.stack import Stack
from tests.harness import wire
from triggers.http import health

SECRET = "s3cr3t"
REFERENCE = f"@Microsoft.KeyVault(SecretUri=https://{SECRET}.vault.azure.net/secrets/x)"
CLOSED = "127.0.0.1:1"
TASK_HUB = {
    "taskHubName": "", "creationUrls": {}, "managementUrls": {},
    "rpcBaseUrl": f"http://{CLOSED}/{SECRET}/",
}  # fmt: skip
BROKEN = {
    "FLEET_SEALING_KEY": Fernet.generate_key().decode(),
    "POWERLIFT_DB_URI": f"postgresql://{SECRET}:{SECRET}@{CLOSED}/{SECRET}",
    "AzureWebJobsStorage": f"AccountName={SECRET};AccountKey=c2VjcmV0;QueueEndpoint=http://{CLOSED}/a",
    "AZURE_SUBSCRIPTION_ID": SECRET,
    "AZURE_RESOURCE_GROUP": SECRET,
    "AZURE_TENANT_ID": SECRET,
    "AZURE_CLIENT_ID": SECRET,
    "AZURE_CLIENT_SECRET": SECRET,
    "AZURE_AUTHORITY_HOST": f"https://{CLOSED}",
    "AZURE_RESOURCE_MANAGER_ENDPOINT": f"https://{CLOSED}",
}
"""Valid settings of a deployment in which nothing responds."""


def details(stack: Stack) -> Any:
    url, headers = f"{stack.url}/api/health/details", {"x-functions-key": stack.key}
    return requests.get(url, headers=headers, timeout=60).json()


@pytest.fixture(scope="module")
def working(stack: Stack) -> Any:
    return details(stack)


def check(settings: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Status and detail of each check of an app with these settings."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**BROKEN, **settings}.items():
            environment.setenv(name, value)
        client = df.DurableOrchestrationClient(json.dumps(TASK_HUB))
        results = asyncio.run(health.run_checks(client))
    return {one["name"]: (one["status"], one["detail"]) for one in results}


@pytest.mark.parametrize("name", [one.name for one in health.CHECKS])
def test_each_check_of_a_working_app_passes(working: Any, name: str):
    [found] = [one for one in working["checks"] if one["name"] == name]
    assert (found["status"], working["status"]) == ("ok", "ok"), found["detail"]


def test_the_details_contain_the_schema_version(working: Any):
    [found] = [one["detail"] for one in working["checks"] if one["name"] == "database"]
    assert f"of {schema.APP.latest}." in found


def test_the_details_require_a_key(stack: Stack):
    assert requests.get(f"{stack.url}/api/health/details", timeout=30).status_code == 401


def test_anonymous_requests_share_one_run_of_the_checks(stack: Stack):
    def ask(_: int) -> tuple[int, Any]:
        answer = requests.get(f"{stack.url}/api/health", timeout=30)
        return answer.status_code, answer.json()

    before = groups_read(stack)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    assert answers == [(200, {"status": "ok"})] * 24
    assert groups_read(stack) - before <= 1


def groups_read(stack: Stack) -> int:
    group = f"/resourcegroups/{stack.arm['resource_group']}".lower()
    return sum(call["path"].lower().endswith(group) for call in wire(stack))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("settings", {"FLEET_RUN_POLL_SECONDS": SECRET}, "FLEET_RUN_POLL_SECONDS"),
        ("settings", {"FLEET_SWEEP_SCHEDULE": SECRET}, "FLEET_SWEEP_SCHEDULE"),
        ("settings", {"POWERLIFT_DB_URI": ""}, "POWERLIFT_DB_URI is not set"),
        ("settings", {"FLEET_SEALING_KEY": REFERENCE}, "FLEET_SEALING_KEY is a Key Vault"),
        ("settings", {"APPINSIGHTS_SETTING": REFERENCE}, "APPINSIGHTS_SETTING is a Key Vault"),
        ("sealing_key", {"FLEET_SEALING_KEY": SECRET}, "invalid Fernet key"),
        ("database", {}, "POWERLIFT_DB_URI"),
        ("task_hub", {}, "AzureWebJobsStorage"),
        ("queue", {}, "ConnectionFailed"),
        ("queue", {"AzureWebJobsStorage": SECRET}, "not a connection string"),
        ("queue", {"AzureWebJobsStorage": ""}, "AzureWebJobsStorage__accountName"),
        ("azure", {}, "managed identity"),
    ],
)
def test_a_failed_check_has_advice_and_no_values(name: str, settings: dict[str, str], words: str):
    found = check(settings)
    status, detail = found[name]
    assert (status, words in detail) == ("failed", True), detail
    assert SECRET not in json.dumps(found)


def test_a_missing_queue_is_reported_with_advice(stack: Stack, monkeypatch: Any):
    monkeypatch.setattr(health, "QUEUE", "never-made")
    status, detail = check({"AzureWebJobsStorage": stack.queue_connection_string})["queue"]
    assert (status, "FLEET_QUEUE" in detail, "Create it" in detail) == ("failed", True, True)


@pytest.mark.parametrize("name", ["sealing_key", "database", "azure"])
def test_checks_are_skipped_if_their_settings_are_invalid(name: str):
    assert check({"FLEET_PRICES": "?"})[name][0] == "skipped"


def test_without_a_default_resource_group_azure_is_not_queried():
    status, detail = check({"AZURE_RESOURCE_GROUP": ""})["azure"]
    assert (status, "AZURE_RESOURCE_GROUP" in detail) == ("skipped", True)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and then says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_all_checks_share_one_timeout(silent: str, monkeypatch: Any):
    monkeypatch.setattr(health, "TIMEOUT", 1.0)
    settings = {name: value.replace(CLOSED, silent) for name, value in BROKEN.items()}
    found = check(settings)
    late = {name for name, (status, _) in found.items() if status == "timeout"}
    assert late == {"database", "queue", "azure"}
    assert all("No response within 1 s. Check" in found[name][1] for name in late)


def test_a_failed_check_is_logged_with_its_event(caplog: pytest.LogCaptureFixture):
    check({"FLEET_SEALING_KEY": SECRET})
    assert "Check sealing_key: FLEET_SEALING_KEY contains" in caplog.text
    assert "[event=health.failed]" in caplog.text
