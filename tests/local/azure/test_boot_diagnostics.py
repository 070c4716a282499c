"""Boot diagnostics: the serial console log, through the real SDK and as a blob."""

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
    """Create a VM with boot diagnostics. Returns its id."""
    body = azure.vm_body(azure.make_nic(), script)
    body["properties"]["diagnosticsProfile"] = profile
    answer = azure.send("PUT", azure.vm_path(name), body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def url_of_log(azure: Driver, name: str, **options: Any) -> str:
    """The URL of a VM's log, from the SDK."""
    virtual_machines = azure.compute().virtual_machines
    found = virtual_machines.retrieve_boot_diagnostics_data(GROUP, name, **options)
    return str(found.serial_console_log_blob_uri)


def get(azure: Driver, url: str, **options: Any) -> requests.Response:
    """GET a blob, without a token."""
    return requests.get(url, verify=azure.ready["ca_bundle"], timeout=30, **options)


@pytest.fixture(scope="module")
def running_vm(azure: Driver) -> str:
    """The name of a running VM."""
    name = unique("vm")
    azure.settled(make(azure, name))
    return name


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A simulator in which some VMs fail to boot."""
    state = tmp_path_factory.mktemp("failing")
    (state / "plan.json").write_text(json.dumps({"faults": NEVER}))
    options = ("--machines", "none", "--faults", str(state / "plan.json"))
    service, driver = serve(state, *options)
    yield driver
    service.stop()


def test_the_log_of_a_vm_names_it(azure: Driver, running_vm: str) -> None:
    assert f"<{running_vm}>" in get(azure, url_of_log(azure, running_vm)).text


def test_custom_data_output_is_in_the_log(azure_processes: Driver) -> None:
    name = unique("vm")
    azure_processes.settled(make(azure_processes, name, "#!/bin/sh\necho all is well\n"))
    url = url_of_log(azure_processes, name)

    assert until(lambda: "all is well" in get(azure_processes, url).text)


def test_a_modified_url_is_rejected(azure: Driver, running_vm: str) -> None:
    url = url_of_log(azure, running_vm)

    answers = [get(azure, url.replace("&se=2", "&se=3")), get(azure, url.partition("?")[0])]

    codes = [(answer.status_code, answer.headers["x-ms-error-code"]) for answer in answers]
    assert codes == [(403, "AuthenticationFailed")] * 2


def test_the_url_expires(azure: Driver, running_vm: str) -> None:
    url = url_of_log(azure, running_vm, sas_uri_expiration_time_in_minutes=1)

    last = until(lambda: (answer := get(azure, url)).status_code == 403 and answer.text)

    assert "expired" in last


@pytest.mark.parametrize("minutes", [0, 1441])
def test_the_expiration_is_a_minute_to_a_day(azure: Driver, running_vm: str, minutes: int) -> None:
    with pytest.raises(HttpResponseError) as rejected:
        url_of_log(azure, running_vm, sas_uri_expiration_time_in_minutes=minutes)

    assert rejected.value.error.code == "InvalidParameter"


def test_a_blob_rejects_resource_manager_tokens(azure: Driver, running_vm: str) -> None:
    headers = {"Authorization": f"Bearer {azure.token()}"}

    assert get(azure, url_of_log(azure, running_vm), headers=headers).status_code == 401


def test_a_blob_is_read_only(azure: Driver, running_vm: str) -> None:
    url, bundle = url_of_log(azure, running_vm), azure.ready["ca_bundle"]

    assert requests.delete(url, verify=bundle, timeout=30).status_code == 403


def test_the_signature_is_not_in_the_wire_log(azure: Driver, running_vm: str) -> None:
    url = url_of_log(azure, running_vm)
    get(azure, url)

    assert url.rpartition("sig=")[2] not in (azure.state / "wire.jsonl").read_text()


@pytest.mark.parametrize("profile", [None, {}, {"bootDiagnostics": {"enabled": False}}])
def test_a_vm_without_boot_diagnostics_has_no_log(azure: Driver, profile: Any) -> None:
    name = unique("vm")
    make(azure, name, profile=profile)

    with pytest.raises(HttpResponseError) as rejected:
        url_of_log(azure, name)

    assert rejected.value.status_code == 409


def test_a_missing_vm_has_no_log(azure: Driver) -> None:
    with pytest.raises(HttpResponseError) as rejected:
        url_of_log(azure, "absent")

    assert rejected.value.error.code == "ResourceNotFound"


@pytest.mark.parametrize(("name", "status"), [("full", 404), ("silent", 200)])
def test_the_blob_exists_once_the_kernel_has_booted(
    failing: Driver, name: str, status: int
) -> None:
    failing.settled(make(failing, name))

    assert get(failing, url_of_log(failing, name)).status_code == status


def test_a_deleted_vms_blob_is_deleted(azure: Driver) -> None:
    name = unique("vm")
    path = make(azure, name)
    azure.settled(path)
    url = url_of_log(azure, name)
    azure.send("DELETE", path, query={"forceDeletion": "true"})
    azure.wait_until_deleted(path)

    assert get(azure, url).headers["x-ms-error-code"] == "BlobNotFound"


@pytest.mark.parametrize(
    ("wanted", "status", "begin", "end"),
    [("bytes=5-9", 206, 5, 10), ("bytes=5-", 206, 5, None), ("bytes=-5", 200, 0, None)],
)
def test_a_range_of_the_log_is_read(
    azure: Driver, running_vm: str, wanted: str, status: int, begin: int, end: int | None
):
    """Storage knows no suffix ranges, and ignores them."""
    url = url_of_log(azure, running_vm)
    whole = get(azure, url).content
    answer = get(azure, url, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (status, whole[begin:end])


def test_a_range_at_the_end_of_the_log_is_refused(azure: Driver, running_vm: str):
    url = url_of_log(azure, running_vm)
    size = len(get(azure, url).content)
    answer = get(azure, url, headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (416, "InvalidRange")


def test_the_reader_role_is_not_sufficient(tmp_path: Path) -> None:
    service, azure = serve(tmp_path, "--machines", "none")
    azure.settled(make(azure, "vm"))
    (owner,) = assignments(azure)
    assert azure.put_role(azure.group, azure.ready["client_object_id"], role=READER).ok
    until(lambda: len(permissions(azure, azure.group)) == 2)
    azure.send("DELETE", owner["id"], api=ROLE_API)

    with pytest.raises(HttpResponseError) as rejected:
        url_of_log(azure, "vm")
    service.stop()

    assert "virtualMachines/retrieveBootDiagnosticsData/action" in rejected.value.message
