"""The error table: which row matches an error, what is kept of Azure's message, and the users' page."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential

from fleet.azure.error_classifier import describe, explain
from fleet.azure.error_table import TABLE
from fleet.model.failure import MESSAGE_LIMIT, UNRECOGNISED_LIMIT, Row
from fleet.model.records import Failure
from local.azure.faults.azure_errors import AZURE_ERRORS
from tests.local.azure.driver import GROUP, Driver, serve

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "failures.md"
SECRET = "s3cr3t-value"
LONG = {"code": "Teapot", "message": "x" * 5000, "status": 418}
WEATHER = {
    "faults": [
        {"on": "vm.get", "match": f"/{name}$", "error": error}
        for name, error in (
            ("busy", "CrpThrottled"),
            ("odd", LONG),
            ("full", "FamilyQuota"),
            ("nested", "RetryableError"),
        )
    ]
}
ENTRA = {
    "Entra has a fault": {"code": "server_error", "message": "An error.", "status": 503},
    "Entra throttles": {"code": "busy", "message": "Slow.", "status": 429, "retry_after": 600},
    "a part is down": {"code": "x", "message": "AADSTS90033: A transient error.", "status": 400},
    "the app is disabled": {"code": "x", "message": "AADSTS7000112: Disabled.", "status": 400},
    "a policy": {"code": "x", "message": "AADSTS53003: Blocked by access policies.", "status": 400},
    "an outage with a number": {"code": "x", "message": "AADSTS50999: Fault.", "status": 500},
    "no number": {"code": "invalid_client", "message": "Who are you?", "status": 401},
}
"""What Entra answers to the first requests for a token, one after the other."""


def matching_row(code: str, status: int, message: str) -> Row:
    """The row that matches a response."""
    return next(row for row in TABLE if row.matches(code, status, message))


# Over the wire, by the SDK


@pytest.fixture(scope="module")
def refusing_azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A simulator that rejects GETs of three VMs."""
    state = tmp_path_factory.mktemp("busy")
    (state / "faults.json").write_text(json.dumps(WEATHER))
    service, driver = serve(
        state, "--machines", "none", "--faults", str(state / "faults.json"), OF_THE_HOST="here"
    )
    yield driver
    service.stop()


def refusal(driver: Driver, vm: str) -> HttpResponseError:
    """The SDK's error for a rejected GET of a VM."""
    with pytest.raises(HttpResponseError) as caught:
        driver.compute().virtual_machines.get(GROUP, vm)
    return caught.value


def test_throttling_without_an_error_envelope_is_recognised(refusing_azure: Driver):
    found = describe(refusal(refusing_azure, "busy"))
    assert (found["code"], found["action"], found["retry_after"]) == (
        "OperationNotAllowed",
        "wait",
        1.0,
    )


def test_the_message_of_throttling_is_azures(refusing_azure: Driver):
    found = describe(refusal(refusing_azure, "busy"))
    assert found["message"] == AZURE_ERRORS["CrpThrottled"].message


def test_the_words_of_an_unknown_error_are_kept(refusing_azure: Driver):
    kept = "x" * (UNRECOGNISED_LIMIT - 3)
    assert describe(refusal(refusing_azure, "odd"))["message"] == f"{kept}..."


def test_a_long_message_of_a_known_error_is_shortened_visibly():
    message = explain("AllocationFailed", "x" * 5000)["message"]
    assert (len(message), message[-4:]) == (MESSAGE_LIMIT, "x...")


def test_the_cause_in_azures_details_is_kept(refusing_azure: Driver):
    message = describe(refusal(refusing_azure, "nested"))["message"]
    assert message.startswith("A retryable error occurred. Cannot proceed with operation because")


def test_the_apps_own_label_keeps_azures_code_in_the_message(refusing_azure: Driver):
    found = describe(refusal(refusing_azure, "full"))
    assert (found["code"], found["message"][:21]) == (
        "FamilyQuotaExceeded",
        "OperationNotAllowed: ",
    )


def test_the_text_of_an_unknown_exception_is_hidden():
    assert SECRET not in str(describe(ValueError(f"postgresql://u:{SECRET}@h/db")))


def test_an_unknown_exception_is_named():
    found = describe(ZeroDivisionError())
    assert (found["code"], found["action"]) == ("ZeroDivisionError", "fail_vm")


# Tokens


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Failure]]:
    """The failures for each of Entra's responses, for a wrong secret, and for a missing one."""
    state = tmp_path_factory.mktemp("entra")
    faults = [{"on": "token", "times": 1, "error": error} for error in ENTRA.values()]
    (state / "faults.json").write_text(json.dumps({"faults": faults}))
    service, driver = serve(state, "--machines", "none", "--faults", str(state / "faults.json"))
    secret = driver.ready["client_secret"]
    found = {name: no_token(driver, secret) for name in ENTRA}
    yield {**found, "a wrong secret": no_token(driver, "wrong"), "nobody": no_identity()}
    service.stop()


def no_token(driver: Driver, secret: str) -> Failure:
    """The failure of a token request that is not retried."""
    known = driver.ready
    credential = ClientSecretCredential(
        known["tenant_id"],
        known["client_id"],
        secret,
        authority=driver.base,
        disable_instance_discovery=True,
        connection_verify=known["ca_bundle"],
        retry_total=0,
    )
    return unauthenticated(credential)


def no_identity() -> Failure:
    """The failure of an app without an identity."""
    sources = ("environment", "managed_identity", "workload_identity", "cli", "powershell")
    others = ("developer_cli", "visual_studio_code", "broker")
    none = {f"exclude_{source}_credential": True for source in (*sources[1:], *others)}
    return unauthenticated(DefaultAzureCredential(**none))


def unauthenticated(credential: ClientSecretCredential | DefaultAzureCredential) -> Failure:
    async def ask() -> None:
        async with credential:
            await credential.get_token("https://management.azure.com/.default")

    with pytest.raises(ClientAuthenticationError) as caught:
        asyncio.run(ask())
    return describe(caught.value)


@pytest.mark.parametrize(
    ("name", "code", "action"),
    [
        ("Entra has a fault", "TokenUnavailable", "retry"),
        ("Entra throttles", "TokenUnavailable", "retry"),
        ("a part is down", "TokenUnavailable", "retry"),
        ("an outage with a number", "TokenUnavailable", "retry"),
        ("nobody", "TokenUnavailable", "retry"),
        ("the app is disabled", "AuthenticationFailed", "fail_fleet"),
        ("a policy", "AuthenticationFailed", "fail_fleet"),
        ("no number", "AuthenticationFailed", "fail_fleet"),
        ("a wrong secret", "AuthenticationFailed", "fail_fleet"),
    ],
)
def test_a_transient_token_failure_does_not_fail_the_fleet(
    refused: dict[str, Failure], name: str, code: str, action: str
):
    assert (refused[name]["code"], refused[name]["action"]) == (code, action)


def test_entra_is_retried_after_its_retry_after(refused: dict[str, Failure]):
    assert refused["Entra throttles"]["retry_after"] is not None


def test_a_missing_token_does_not_fail_a_vm(refused: dict[str, Failure]):
    assert refused["nobody"]["passing"]


# The order of the table

QUOTA = "exceeding approved standardDSv5Family Cores quota. Current Limit: {}, Current Usage: 0"


def test_too_many_requests_is_not_a_quota_error():
    assert matching_row("OperationNotAllowed", 429, QUOTA.format(10)).action == "wait"


def test_a_quota_error_moves_vms_to_another_placement():
    assert matching_row("OperationNotAllowed", 409, QUOTA.format(10)).action == "move"


@pytest.mark.parametrize(("limit", "seconds"), [(0, 3600.0), (10, 600.0), (100, 600.0)])
def test_a_family_with_zero_quota_is_excluded_for_an_hour(limit: int, seconds: float):
    assert matching_row("OperationNotAllowed", 409, QUOTA.format(limit)).cool_down == seconds


def test_a_smaller_size_may_fit_into_the_remaining_quota():
    scopes = [
        matching_row("OperationNotAllowed", 409, QUOTA.format(n)).scope.split() for n in (0, 10)
    ]
    assert ["vcpus" in scope for scope in scopes] == [False, True]


def test_a_vanished_vm_is_not_a_quota_error():
    message = AZURE_ERRORS["MarkedForDeletion"].message
    assert matching_row("OperationNotAllowed", 409, message).label == "MarkedForDeletion"


def test_a_deleted_nic_does_not_end_the_fleet():
    text = "Resource /s/networkInterfaces/n referenced by resource /s/subnets/v was not found."
    assert matching_row("InvalidResourceReference", 400, text).action == "replace"


def test_a_deleted_subnet_ends_the_fleet():
    text = "Resource /s/subnets/n referenced by resource /s/networkInterfaces/v was not found."
    assert matching_row("InvalidResourceReference", 400, text).action == "fail_fleet"


def test_no_error_matches_two_rows():
    plain = [code for row in TABLE if not row.text for code in row.codes]
    assert [code for code, count in Counter(plain).items() if count > 1] == []


@pytest.mark.parametrize("name", sorted(AZURE_ERRORS))
def test_a_vm_that_failed_to_boot_is_not_retried(name: str):
    entry = AZURE_ERRORS[name]
    action = explain(entry.code, entry.message)["action"]
    assert action not in ("succeed", "wait", "retry")


# The users' page

DOES = {
    "wait": "waits for Retry-After, then retries",
    "retry": "retries after 2, 4, 8 and 16 seconds",
    "succeed": "continues: the operation had already succeeded",
    "replace": "creates a replacement; abandons it if it fails with the same code",
    "move": "creates a replacement",
    "fail_fleet": "stops creating VMs",
}
MEMBERS = {"location": "region", "vm_size": "size", "vcpus": "as many vCPUs or more"}
SPANS = {600.0: "10 minutes", 3600.0: "1 hour", 86400.0: "24 hours"}


def documented_row(row: Row) -> list[str]:
    """A row as on the page, without the meaning: code, action, advice."""
    given = ", ".join(f"`{code}`" for code in sorted(row.codes))
    if row.text and not row.codes:
        given = f"`{row.label}` (by the message)" if row.label else "any other, by the message"
    elif row.label:
        given = f"`{row.label}` (Azure: {given})"
    elif row.statuses:
        given = "HTTP " + ", ".join(map(str, sorted(row.statuses)))
    return [given or "any other", _does(row), row.advice]


def _does(row: Row) -> str:
    if not row.scope:
        return DOES[row.action]
    retried = f"{DOES['retry']}; then " if row.action == "unclear" else ""
    members = ", ".join(MEMBERS.get(one, one) for one in row.scope.split())
    again = "; if no other placement is open, tries one VM at a time there" if row.passing else ""
    return f"{retried}cooldown of {SPANS[row.cool_down]} (same {members}){again}"


def rows_of_the_page() -> list[list[str]]:
    """The cells of the first table on the page."""
    table = PAGE.read_text().partition("## Codes of the app")[0]
    lines = re.findall(r"^\| (.*) \|$", table, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines if "---" not in line][1:]


def test_the_page_matches_the_table():
    documented = [[code, does, can] for code, _, does, can in rows_of_the_page()]
    assert documented == [documented_row(row) for row in TABLE]


def test_the_page_documents_every_row():
    assert [code for code, means, *_ in rows_of_the_page() if not means] == []


def test_the_page_explains_the_apps_own_codes():
    source = "".join(
        path.read_text()
        for room in ("fleet", "orchestrators")
        for path in (ROOT / room).glob("*.py")
    )
    ours = set(re.findall(r"failure\(\s*\"([A-Z]\w+)\"", source))
    page = PAGE.read_text()
    assert (bool(ours), {code for code in ours if f"`{code}`" not in page}) == (True, set())
