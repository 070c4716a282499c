"""Boot diagnostics: the serial console's log, by the real SDK and as a storage account serves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError

from tests.local.azure.driver import GROUP, ROLE_API, Driver, serve, unique, until
from tests.local.azure.test_permissions import assignments, permissions

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
ON = {"bootDiagnostics": {"enabled": True}}
NEVER = [
    {"on": "vm.boot", "match": "full", "error": "AllocationFailed"},
    {"on": "vm.boot", "match": "silent", "error": "OSProvisioningTimedOut"},
]


def make(azure: Driver, name: str, script: str | None = None, profile: Any = ON) -> str:
    """Ask for a VM whose serial console is kept; returns its id."""
    body = azure.vm_body(azure.make_nic(), script)
    body["properties"]["diagnosticsProfile"] = profile
    answer = azure.send("PUT", azure.vm_path(name), body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def url_of_log(azure: Driver, name: str, **options: Any) -> str:
    """Where the log of a VM is, as the SDK has it from Azure."""
    virtual_machines = azure.compute().virtual_machines
    found = virtual_machines.retrieve_boot_diagnostics_data(GROUP, name, **options)
    return str(found.serial_console_log_blob_uri)


def get(azure: Driver, url: str, **options: Any) -> requests.Response:
    """A GET as of a blob: without a token."""
    return requests.get(url, verify=azure.ready["ca_bundle"], timeout=30, **options)


@pytest.fixture(scope="module")
def standing(azure: Driver) -> str:
    """The name of a VM that runs."""
    name = unique("vm")
    azure.settled(make(azure, name))
    return name


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A cloud where some VMs never come up."""
    state = tmp_path_factory.mktemp("failing")
    (state / "plan.json").write_text(json.dumps({"faults": NEVER}))
    options = ("--machines", "none", "--faults", str(state / "plan.json"))
    service, driver = serve(state, *options)
    yield driver
    service.stop()


def test_the_log_of_a_vm_names_it(azure: Driver, standing: str) -> None:
    assert f"<{standing}>" in get(azure, url_of_log(azure, standing)).text


def test_what_custom_data_prints_is_in_the_log(guests: Driver) -> None:
    name = unique("vm")
    guests.settled(make(guests, name, "#!/bin/sh\necho all is well\n"))
    url = url_of_log(guests, name)

    assert until(lambda: "all is well" in get(guests, url).text)


def test_the_url_is_of_no_use_once_changed(azure: Driver, standing: str) -> None:
    url = url_of_log(azure, standing)

    answers = [get(azure, url.replace("&se=2", "&se=3")), get(azure, url.partition("?")[0])]

    codes = [(answer.status_code, answer.headers["x-ms-error-code"]) for answer in answers]
    assert codes == [(403, "AuthenticationFailed")] * 2


def test_the_url_expires(azure: Driver, standing: str) -> None:
    url = url_of_log(azure, standing, sas_uri_expiration_time_in_minutes=1)

    last = until(lambda: (answer := get(azure, url)).status_code == 403 and answer.text)

    assert "expired" in last


@pytest.mark.parametrize("minutes", [0, 1441])
def test_the_url_lives_a_minute_to_a_day(azure: Driver, standing: str, minutes: int) -> None:
    with pytest.raises(HttpResponseError) as refusal:
        url_of_log(azure, standing, sas_uri_expiration_time_in_minutes=minutes)

    assert refusal.value.error.code == "InvalidParameter"


def test_a_blob_takes_no_token_of_azures_manager(azure: Driver, standing: str) -> None:
    headers = {"Authorization": f"Bearer {azure.token()}"}

    assert get(azure, url_of_log(azure, standing), headers=headers).status_code == 401


def test_a_blob_can_only_be_read(azure: Driver, standing: str) -> None:
    url, bundle = url_of_log(azure, standing), azure.ready["ca_bundle"]

    assert requests.delete(url, verify=bundle, timeout=30).status_code == 403


def test_the_signature_is_not_in_the_wire_log(azure: Driver, standing: str) -> None:
    url = url_of_log(azure, standing)
    get(azure, url)

    assert url.rpartition("sig=")[2] not in (azure.state / "wire.jsonl").read_text()


@pytest.mark.parametrize("profile", [None, {}, {"bootDiagnostics": {"enabled": False}}])
def test_a_vm_without_boot_diagnostics_has_no_log(azure: Driver, profile: Any) -> None:
    name = unique("vm")
    make(azure, name, profile=profile)

    with pytest.raises(HttpResponseError) as refusal:
        url_of_log(azure, name)

    assert refusal.value.status_code == 409


def test_a_vm_that_is_not_there_has_none(azure: Driver) -> None:
    with pytest.raises(HttpResponseError) as refusal:
        url_of_log(azure, "absent")

    assert refusal.value.error.code == "ResourceNotFound"


@pytest.mark.parametrize(("name", "status"), [("full", 404), ("silent", 200)])
def test_the_blob_is_there_once_the_kernel_ran(failing: Driver, name: str, status: int) -> None:
    failing.settled(make(failing, name))

    assert get(failing, url_of_log(failing, name)).status_code == status


def test_a_deleted_vms_blob_is_gone(azure: Driver) -> None:
    name = unique("vm")
    path = make(azure, name)
    azure.settled(path)
    url = url_of_log(azure, name)
    azure.send("DELETE", path, query={"forceDeletion": "true"})
    azure.gone(path)

    assert get(azure, url).headers["x-ms-error-code"] == "BlobNotFound"


def test_to_read_everything_is_not_enough(tmp_path: Path) -> None:
    service, azure = serve(tmp_path, "--machines", "none")
    azure.settled(make(azure, "vm"))
    (owner,) = assignments(azure)
    assert azure.put_role(azure.group, azure.ready["client_object_id"], role=READER).ok
    until(lambda: len(permissions(azure, azure.group)) == 2)
    azure.send("DELETE", owner["id"], api=ROLE_API)

    with pytest.raises(HttpResponseError) as refusal:
        url_of_log(azure, "vm")
    service.stop()

    assert "virtualMachines/retrieveBootDiagnosticsData/action" in refusal.value.message
