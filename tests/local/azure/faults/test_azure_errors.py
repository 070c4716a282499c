"""The SDK's clients see every injectable error as docs/fault-injection.md describes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from local.azure.faults.azure_errors import AZURE_ERRORS
from tests.local.azure.driver import GROUP, Driver
from tests.local.azure.faults.conftest import Cloud

PAGE = (Path(__file__).parents[4] / "docs" / "fault-injection.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| (\d*) \|$", PAGE, re.MULTILINE)
OPERATION_ERRORS = [
    "AllocationFailed",
    "ZonalAllocationFailed",
    "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest",
    "SpotEvicted",
    "OSProvisioningTimedOut",
    "VMStartTimedOut",
    "InternalExecutionError",
    "VMExtensionProvisioningError",
    "VMAgentStatusCommunicationError",
]


@pytest.fixture(scope="module")
def azure(cloud: Cloud) -> Driver:
    """A simulator in which a VM's name selects its error."""
    return cloud(
        {
            "faults": [
                {"on": on, "match": f"/{on}-{name}$", "error": name}
                for on in ("vm.put", "vm.boot")
                for name in AZURE_ERRORS
            ]
        }
    )


def test_the_page_lists_all_errors() -> None:
    assert {row[0] for row in ROWS} == set(AZURE_ERRORS)


@pytest.mark.parametrize(("name", "status", "code", "wait"), ROWS, ids=[row[0] for row in ROWS])
def test_an_error_of_the_request(
    azure: Driver, name: str, status: str, code: str, wait: str
) -> None:
    with pytest.raises(HttpResponseError) as rejected:
        put(azure, f"vm.put-{name}", "/no/nic")

    error = rejected.value
    assert (error.status_code, error.error.code) == (int(status), code)
    assert ("Retry-After" in error.response.headers) == bool(wait)


@pytest.mark.parametrize("name", AZURE_ERRORS)
def test_every_placeholder_is_filled_in(azure: Driver, name: str) -> None:
    answer = azure.send("PUT", azure.vm_path(f"vm.put-{name}"), azure.vm_body("/no/nic"))

    assert not re.search(r"\$\w", answer.text)


@pytest.mark.parametrize("name", OPERATION_ERRORS)
def test_an_error_of_the_operation(azure: Driver, name: str) -> None:
    poller = put(azure, f"vm.boot-{name}", azure.make_nic())

    with pytest.raises(HttpResponseError) as failed:
        poller.result()

    assert failed.value.error.code == name


@pytest.fixture(scope="module")
def failed_vm(azure: Driver) -> dict[str, Any]:
    name = "vm.boot-RequestTimeout"
    assert azure.send("PUT", azure.vm_path(name), azure.vm_body(azure.make_nic())).ok
    return azure.settled(azure.vm_path(name))


def test_a_vm_that_failed_to_boot_remains_with_its_error(
    azure: Driver, failed_vm: dict[str, Any]
) -> None:
    view = azure.compute().virtual_machines.instance_view(GROUP, failed_vm["name"])

    assert failed_vm["properties"]["provisioningState"] == "Failed"
    assert view.statuses[0].code == "ProvisioningState/failed/RequestTimeout"
    assert view.statuses[0].message == "The request timed out."


def test_a_vm_that_failed_to_boot_keeps_its_interface(
    azure: Driver, failed_vm: dict[str, Any]
) -> None:
    nic = failed_vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"]

    with pytest.raises(HttpResponseError) as rejected:
        azure.network().network_interfaces.begin_delete(GROUP, nic.rpartition("/")[2])

    assert rejected.value.error.code == "NicReservedForAnotherVm"


def test_computes_throttling_has_no_envelope(azure: Driver) -> None:
    answer = azure.send("PUT", azure.vm_path("vm.put-CrpThrottled"), azure.vm_body("/no/nic"))

    assert answer.json()["code"] == "OperationNotAllowed"
    assert answer.json()["details"][0]["code"] == "TooManyRequests"


def put(azure: Driver, name: str, nic: str) -> Any:
    """Create a VM with the SDK."""
    return azure.compute().virtual_machines.begin_create_or_update(GROUP, name, azure.vm_body(nic))
