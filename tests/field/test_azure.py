"""Faults that people have reported of Azure: the source, Azure's response, and what the app does.

A new report is one more row.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from fleet.azure.error_classifier import explain
from fleet.azure.error_table import TABLE
from fleet.model.failure import join, look_up, shorten
from fleet.model.failure_policy import frees_ordinal
from tests.fleets import failing, later, new_fleet, placement
from tests.local.azure.driver import GROUP, ROOT, Driver, serve

# azure-sdk-for-python#17974, aiohttp#4581: responses with a truncated or foreign body.

CORRUPTIONS: dict[str, dict[str, Any]] = {
    "truncated after the headers": {"cut": 0},
    "truncated after a byte": {"cut": 1},
    "truncated after 100 bytes": {"cut": 100},
    "truncated before the last byte": {"cut": 10**9},
    "an HTML page": {"garbled": "html"},
    "an HTML page with status 404": {"garbled": "html404"},
    "bad gzip": {"garbled": "gzip"},
    "invalid JSON": {"garbled": "json"},
    "JSON that is not an object": {"garbled": "text"},
    "an empty body": {"garbled": "empty"},
}
CALLS = (
    "group.get", "skus", "usages", "nsg.put", "nsg.get", "vnet.put", "vnet.get", "subnet.put",
    "nic.put", "nic.get", "nic.list", "vm.put", "vm.get", "vm.list", "disk.list", "role.put",
    "role.list",
)  # fmt: skip
DELETIONS = ("vm.delete", "nic.delete", "role.delete")
OUTAGE = {"code": "server_error", "message": "AADSTS50999: A fault.", "status": 503}
TOKENS = [
    {"on": "token", "nth": [2, 3, 4, 5], "garbled": "html"},
    {"on": "token", "nth": [6, 7, 8, 9], "error": OUTAGE},  # azure-docs#19159
]
"""Each for as many requests as azure-identity sends."""


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The failures of each call: with each corruption, then with an intact response."""
    state = tmp_path_factory.mktemp("corrupted")
    faults = [
        {"on": on, "nth": [number], **corruption}
        for on in (*CALLS, *DELETIONS)
        # The process has asked for the first token, and for a list of roles with it.
        for number, corruption in enumerate(CORRUPTIONS.values(), 2 if on == "role.list" else 1)
    ]
    (state / "faults.json").write_text(json.dumps({"faults": [*faults, *TOKENS]}))
    service, driver = serve(state, "--machines", "none", "--faults", str(state / "faults.json"))
    try:
        return call_all(driver)
    finally:
        service.stop()


def call_all(driver: Driver) -> dict[str, list[Any]]:
    account = ("subscription_id", "tenant_id", "client_id")
    given = {
        "account": {**{name: driver.ready[name] for name in account}, "resource_group": GROUP},
        "count": len(CORRUPTIONS),
        "principal": driver.ready["users"][0],
        "vm": driver.vm_body("of the process"),
    }
    settings = {"FLEET_SEALING_KEY": Fernet.generate_key().decode(), "POWERLIFT_DB_URI": "unused"}
    output = subprocess.run(
        [sys.executable, "-m", "tests.field.corrupted_responses", json.dumps(given)],
        env={**os.environ, **driver.ready["env"], **settings},
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    return dict(json.loads(output))


@pytest.mark.parametrize("on", CALLS)
def test_a_corrupted_response_is_lost(corrupted: dict[str, list[Any]], on: str):
    found = [(one and one["code"], one and one["passing"]) for one in corrupted[on][:-1]]
    assert dict(zip(CORRUPTIONS, found, strict=True)) == dict.fromkeys(
        CORRUPTIONS, ("ConnectionFailed", True)
    )


@pytest.mark.parametrize("on", DELETIONS)
def test_a_corrupted_response_to_a_deletion_is_lost(corrupted: dict[str, list[Any]], on: str):
    # Most have no body, so that truncation loses them, and aiohttp itself repeats a lost DELETE.
    page = [one for one in corrupted[on] if one and "text/html" in one["message"]]
    assert [one["code"] for one in page] == ["ConnectionFailed"] * 2


@pytest.mark.parametrize("on", CALLS)
def test_the_next_response_is_understood(corrupted: dict[str, list[Any]], on: str):
    # It may be that the NIC exists, or that the network's earlier PUT still runs.
    answers = (None, "PreconditionFailed", "RetryableErrorDueToAnotherOperation")
    last = corrupted[on][-1]
    assert (last and last["code"]) in answers


def test_an_outage_of_entra_passes_whatever_its_number(corrupted: dict[str, list[Any]]):
    found = corrupted["token"][1]
    assert (found["code"], found["action"], found["passing"]) == ("TokenUnavailable", "retry", True)


def test_a_corrupted_token_is_lost(corrupted: dict[str, list[Any]]):
    found = corrupted["token"][0]
    assert (found["code"], "oauth2/v2.0/token has status 200" in found["message"]) == (
        "ConnectionFailed",
        True,
    )


def test_a_corrupted_response_says_what_came_instead(corrupted: dict[str, list[Any]]):
    page = corrupted["group.get"][list(CORRUPTIONS).index("an HTML page")]
    assert "has status 200 and 89 bytes (text/html), but not the JSON" in page["message"]


# The meaning of codes and messages

SUBSCRIPTION = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network"
OWN_SUBNET = f"{SUBSCRIPTION}/virtualNetworks/powerlift-vnet-eastus/subnets/powerlift-subnet-eastus"
USERS_SUBNET = f"{SUBSCRIPTION}/virtualNetworks/hub/subnets/benchmarks"
NOT_FOUND = (
    "Resource {} referenced by resource /networkInterfaces/n was not found. Please make sure that the "
    "referenced resource exists, and that both resources are in the same region."
)
PREMIUM = (
    "Requested operation cannot be performed because the VM size Standard_D2_v3 does not support the "
    "storage account type Premium_LRS of disk 'vm_osdisk'. Consider updating the VM to a size that "
    "supports Premium storage."
)
NVME = (
    "The VM size 'Standard_E2bs_v5' cannot boot with OS image or disk. Please check that disk "
    "controller types supported by the OS image or disk is one of the supported disk controller types "
    "for the VM size 'Standard_E2bs_v5'."
)
ARM64 = (
    "Cannot create a VM of size 'Standard_D2ps_v5' because this VM size only supports a CPU "
    "Architecture of 'Arm64', but an image or disk with CPU Architecture 'x64' was given."
)
GENERATION = (
    "The selected VM size 'Standard_DC2s_v3' cannot boot Hypervisor Generation '1'. If this was a "
    "Create operation please check that the Hypervisor Generation of the Image matches the Hypervisor "
    "Generation of the selected VM Size."
)
PLACE = "location zone vm_size"

ANSWERS: list[tuple[str, int, str, str, tuple[str, str, str]]] = [
    # source, status, Azure's code and message; then the code, the action and the scope
    ("opnazure#5", 400, "InvalidResourceReference", NOT_FOUND.format(OWN_SUBNET),
     ("SubnetNotVisible", "retry", "")),
    ("terraform-provider-azurerm#1057", 400, "SubnetNotFound",
     "Subnet powerlift-subnet-eastus is not found.", ("SubnetNotVisible", "retry", "")),
    ("a request's subnet_id", 400, "InvalidResourceReference", NOT_FOUND.format(USERS_SUBNET),
     ("InvalidResourceReference", "fail_fleet", "")),
    ("go-azure-sdk#889", 409, "RequestConflict",
     "Cannot proceed with operation because resource is in Updating state.",
     ("RequestConflict", "retry", "")),
    ("AzureTRE#3177", 409, "CanceledAndSupersededDueToAnotherOperation",
     "Operation PutNetworkInterface was canceled and superseded by operation PutSubnet.",
     ("CanceledAndSupersededDueToAnotherOperation", "retry", "")),
    ("its kind", 409, "SomethingIsBusy", "The resource is busy. Please retry later.",
     ("SomethingIsBusy", "unclear", PLACE)),
    ("its kind", 400, "BadRequest", "A transient failure occurred. Try again in a few minutes.",
     ("BadRequest", "unclear", PLACE)),
    ("no retry of what must change first", 400, "BadRequest", "Set the plan and try again.",
     ("BadRequest", "fail_fleet", "")),
    ("capz#294", 400, "ResourceTypeNotSupportAvailabilityZones",
     "Resource type 'virtualMachines' does not support availability zones in location 'eastus'.",
     ("ResourceTypeNotSupportAvailabilityZones", "move", "location zone")),
    ("avm-res-compute#373", 400, "InvalidParameter", PREMIUM,
     ("DiskTypeNotSupportedBySize", "move", "vm_size")),
    ("avm-res-compute#373, another wording", 400, "InvalidParameter",
     "Storage account type Premium_LRS is not supported for VM size 'Standard_A1'.",
     ("DiskTypeNotSupportedBySize", "move", "vm_size")),
    ("openshift/installer#9232", 400, "InvalidParameter", NVME,
     ("ImageNotSupportedBySize", "move", "vm_size")),
    ("its kind: Arm64", 400, "BadRequest", ARM64, ("ImageNotSupportedBySize", "move", "vm_size")),
    ("its kind: generation 2", 400, "BadRequest", GENERATION,
     ("ImageNotSupportedBySize", "move", "vm_size")),
    ("disk_type with a typo", 400, "InvalidParameter",
     "The value 'Premuim_LRS' of parameter 'osDisk.managedDisk.storageAccountType' is invalid.",
     ("InvalidParameter", "fail_fleet", "")),
    ("an unknown code", 418, "Teapot", "I am a teapot.", ("Teapot", "unclear", PLACE)),
    ("an error without a code", 403, "Http403", "Operation returned an invalid status 'Forbidden'",
     ("Http403", "unclear", PLACE)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [pytest.param(*row[1:], id=f"{row[0]}: {row[2]}") for row in ANSWERS],
)
def test_an_error_response(status: int, code: str, message: str, expected: tuple[str, str, str]):
    found = look_up(TABLE, code, message, status=status)
    assert (found["code"], found["action"], found["scope"]) == expected


BOOTS = [
    ("azure-cli#12751", "VMStartTimedOut", "VM 'vm' did not start in the allotted time."),
    ("azure-cli#12751", "OSProvisioningInternalError", "An internal error occurred."),
    ("capz#5657", "OSProvisioningClientError", "OS provisioning failed for VM 'vm'."),
    ("capz#5657", "NetworkingInternalOperationError", "An unexpected error occurred."),
    ("its kind", "InternalOperationError", "An internal error occurred."),
    ("its kind: transient", "RetryableError", "A retryable error occurred."),
    ("its kind: unknown", "ThermalEvent", "The rack is too warm."),
]


@pytest.mark.parametrize(
    ("code", "message"), [pytest.param(*row[1:], id=f"{row[0]}: {row[1]}") for row in BOOTS]
)
def test_a_fault_at_boot_is_replaced_also_elsewhere(code: str, message: str):
    found = explain(code, message)
    assert (found["action"], found["scope"], found["passing"]) == ("unclear", PLACE, True)


# A VM size that does not fit the request fails at once

SIZE_ERRORS = [
    (PREMIUM, "Change disk_type or vm_size."),
    (ARM64, "Change the image."),
    (NVME, "vm_size"),
]


@pytest.mark.parametrize(("message", "advice"), SIZE_ERRORS)
def test_the_advice_names_what_to_change(message: str, advice: str):
    assert advice in look_up(TABLE, "InvalidParameter", message, status=400)["advice"]


@pytest.mark.parametrize(
    ("fallbacks", "tried"),
    [
        ([{"location": "westus2"}, {"priority": "Spot"}], []),
        ([{"location": "westus2"}, {"vm_size": "Standard_E4s_v5"}], ["Standard_E4s_v5"]),
    ],
)
def test_only_another_size_is_tried(fallbacks: list[dict[str, str]], tried: list[str]):
    reason = look_up(TABLE, "InvalidParameter", PREMIUM, status=400)
    fleet = failing(new_fleet(1, zones=["1", "2"], fallbacks=fallbacks), reason, zone="1")
    found = fleet.placements_for(1, later(2))
    assert [one["vm_size"] for one in found] == tried


def test_a_vm_waits_for_minutes_until_the_apps_subnet_is_visible():
    fleet = new_fleet(1)
    (request,) = fleet.demand.request([placement()])
    message = NOT_FOUND.format(OWN_SUBNET)
    reason = look_up(TABLE, "InvalidResourceReference", message, status=400)
    for seconds in (0, 60, 600):
        fleet.refuse(request, reason, later(seconds))
        assert fleet.take_retries(1) == [request]


@pytest.mark.parametrize(
    ("code", "status", "is_free"),
    [("Teapot", 418, True), ("SkuNotAvailable", 409, True), ("ServiceUnavailable", 503, False)],
)
def test_the_interface_of_a_refused_vm_is_deleted_unless_the_vm_is_retried(
    code: str, status: int, is_free: bool
):
    assert frees_ordinal(look_up(TABLE, code, "", status=status)) is is_free


# Texts


@given(st.text(), st.integers(4, 100))
def test_a_shortened_text_says_so(text: str, limit: int):
    short = shorten(text, limit)
    assert short == text or (len(short) == limit and short == f"{text[: limit - 3]}...")


@given(st.lists(st.text("ab ", max_size=6), max_size=5))
def test_a_composed_text_says_everything_once(parts: list[str]):
    text = join(parts)
    lines = {" ".join(part.split()) for part in parts}
    outermost = {one for one in lines if not any(one in other for other in lines - {one})}
    assert sorted(text.split(" ")) == sorted(" ".join(outermost).split(" "))
