"""Fault injection: when faults fire, and their effects."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from azure.core.exceptions import AzureError
from urllib3.exceptions import ProtocolError

from tests.local.azure.driver import GROUP, NETWORK_API, ROLE_API, Driver, code, unique
from tests.local.azure.faults.conftest import Cloud
from tests.local.azure.faults.vms import body, boot, put

UNAVAILABLE = {"code": "Injected", "status": 503}
OPERATIONS = {
    "group.get": ("GET", ""),
    "skus": ("GET", "/providers/Microsoft.Compute/skus"),
    "usages": ("GET", "/providers/Microsoft.Compute/locations/eastus/usages"),
    "vnet.put": ("PUT", "/providers/Microsoft.Network/virtualNetworks/missing"),
    "subnet.put": ("PUT", "/providers/Microsoft.Network/virtualNetworks/v/subnets/missing"),
    "subnet.get": ("GET", "/providers/Microsoft.Network/virtualNetworks/v/subnets/missing"),
    "nsg.put": ("PUT", "/providers/Microsoft.Network/networkSecurityGroups/missing"),
    "nsg.get": ("GET", "/providers/Microsoft.Network/networkSecurityGroups/missing"),
    "nic.put": ("PUT", "/providers/Microsoft.Network/networkInterfaces/missing"),
    "nic.delete": ("DELETE", "/providers/Microsoft.Network/networkInterfaces/missing"),
    "nic.list": ("GET", "/providers/Microsoft.Network/networkInterfaces"),
    "vm.put": ("PUT", "/providers/Microsoft.Compute/virtualMachines/missing"),
    "vm.get": ("GET", "/providers/Microsoft.Compute/virtualMachines/missing"),
    "vm.list": ("GET", "/providers/Microsoft.Compute/virtualMachines"),
    "vm.delete": ("DELETE", "/providers/Microsoft.Compute/virtualMachines/missing"),
    "disk.delete": ("DELETE", "/providers/Microsoft.Compute/disks/missing"),
    "role.put": ("PUT", "/providers/Microsoft.Authorization/roleAssignments/missing"),
    "role.delete": ("DELETE", "/providers/Microsoft.Authorization/roleAssignments/missing"),
}
OF_THE_SUBSCRIPTION = ("skus", "usages")

PLAN = {
    "faults": [
        {"on": "vm.put", "match": "/NTH-", "nth": [1, 3], "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/times-", "times": 2, "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/early-", "until": 1e-9, "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/late-", "from": 1e9, "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/now-", "from": 1e-9, "until": 1e9, "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/kind-", "zone": "1", "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/kind-", "size": "Standard_E2s_v5", "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/kind-", "location": "westus", "error": UNAVAILABLE},
        {"on": "vm.boot", "match": "/kind-", "zone": "2", "error": UNAVAILABLE},
        {"on": "nic.put", "match": "/lost-", "nth": [1], "lost": True},
        {"on": "vm.put", "match": "/lost-", "nth": [1], "lost": True},
        {"on": "vm.put", "match": "/worse-", "lost": True, "error": UNAVAILABLE},
        {"on": "vm.get", "match": "/slow-", "slow": 40},
        {"on": "vm.delete", "match": "/stuck-", "times": 1, "error": "MarkedForDeletion"},
        {"on": "vm.delete.operation", "match": "/back-", "times": 1, "error": UNAVAILABLE},
        {"on": "vm.put", "match": "/custom-", "error": {
            "code": "Own", "message": "$vm is not for $size", "status": 418, "retry_after": 1000,
            "details": [{"code": "Inner", "message": "in $location"}],
        }},
        {"on": "nic.put", "match": "/cut-none", "cut": 0},
        {"on": "nic.put", "match": "/cut-some", "cut": 7},
        {"on": "nic.put", "match": "/cut-most", "cut": 10**9},
        {"on": "nic.put", "match": "/html-", "garbled": "html"},
        {"on": "nic.put", "match": "/html404-", "garbled": "html404"},
        {"on": "nic.put", "match": "/gzip-", "garbled": "gzip"},
        {"on": "nic.put", "match": "/json-", "garbled": "json"},
        {"on": "nic.put", "match": "/text-", "garbled": "text"},
        {"on": "nic.put", "match": "/empty-", "garbled": "empty"},
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def azure(cloud: Cloud) -> Driver:
    return cloud(PLAN)


def statuses(azure: Driver, prefix: str, count: int, **kind: Any) -> list[int]:
    return [put(azure, unique(prefix), **kind).status_code for _ in range(count)]


def log(azure: Driver, path: str) -> list[dict[str, Any]]:
    lines = (azure.state / "wire.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["path"] == path]


@pytest.fixture(scope="module")
def every(cloud: Cloud) -> Driver:
    """A simulator in which every operation fails with its own name as the code."""
    return cloud(
        {"faults": [{"on": on, "error": {"code": on, "status": 503}} for on in OPERATIONS]}
    )


@pytest.mark.parametrize("on", OPERATIONS)
def test_every_operation_can_fail(every: Driver, on: str) -> None:
    method, path = OPERATIONS[on]
    root = every.subscription if on in OF_THE_SUBSCRIPTION else every.group
    sent = {} if method == "PUT" else None

    answer = every.send(method, root + path, sent, api=ROLE_API)

    assert (answer.status_code, code(answer)) == (503, on)


def test_any_get_can_fail(cloud: Cloud) -> None:
    azure = cloud({"faults": [{"on": "read", "nth": [2], "error": UNAVAILABLE}]})

    answers = [azure.send("GET", path) for path in (azure.group, azure.net("networkInterfaces"))]

    assert [answer.status_code for answer in answers] == [200, 503]


def test_a_token_request_can_fail(cloud: Cloud) -> None:
    azure = cloud({"faults": [{"on": "token", "nth": [1], "error": "ServiceUnavailable"}]})

    answers = [azure.ask_token(), azure.ask_token()]

    assert [answer.status_code for answer in answers] == [503, 200]
    assert answers[0].json()["error"] == "ServiceUnavailable"


def test_nth_counts_matching_operations(azure: Driver) -> None:
    put(azure)

    assert statuses(azure, "nth", 4) == [503, 201, 503, 201]


def test_times_limits_how_often_a_fault_fires(azure: Driver) -> None:
    assert statuses(azure, "times", 3) == [503, 503, 201]


@pytest.mark.parametrize(("prefix", "status"), [("early", 201), ("late", 201), ("now", 503)])
def test_a_fault_has_a_time_window(azure: Driver, prefix: str, status: int) -> None:
    assert statuses(azure, prefix, 1) == [status]


@pytest.mark.parametrize(
    ("kind", "status"),
    [({"zone": "1"}, 503), ({"zone": "3"}, 201), ({"size": "Standard_E2s_v5"}, 503), ({}, 201)],
)
def test_a_fault_can_select_a_kind_of_vm(azure: Driver, kind: dict[str, str], status: int) -> None:
    assert statuses(azure, "kind", 1, **kind) == [status]


def test_a_boot_fault_can_select_a_zone(azure: Driver) -> None:
    ends = [boot(azure, unique("kind"), zone=zone) for zone in ("2", "3")]

    assert [vm["properties"]["provisioningState"] for vm in ends] == ["Failed", "Succeeded"]


def test_a_custom_error(azure: Driver) -> None:
    answer = put(azure, "custom-1")

    assert (answer.status_code, answer.headers["Retry-After"]) == (418, "6")
    assert answer.json()["error"] == {
        "code": "Own",
        "message": "custom-1 is not for Standard_D2s_v5",
        "details": [{"code": "Inner", "message": "in eastus"}],
    }


def test_a_lost_response_closes_the_connection(azure: Driver) -> None:
    with pytest.raises(requests.ConnectionError):
        azure.make_nic("lost-1")

    assert azure.send("GET", azure.net("networkInterfaces", "lost-1"), api=NETWORK_API).ok


def received(azure: Driver, name: str) -> tuple[int, str, bytes, int]:
    """What a PUT of a NIC gets: status, content type, body, and how many bytes are missing."""
    body, path = azure.nic_body(azure.subnet()), azure.net("networkInterfaces", name)
    headers = {"Authorization": f"Bearer {azure.token()}"}
    url = f"{path}?api-version={NETWORK_API}"
    answer = azure.bare("PUT", url, json=body, headers=headers, stream=True)
    answer.raw.enforce_content_length = False  # the error then has the bytes that came
    try:
        content = answer.raw.read(decode_content=False)
    except ProtocolError as error:
        content = error.args[1].partial
    declared = int(answer.headers["Content-Length"])
    return answer.status_code, answer.headers["Content-Type"], content, declared - len(content)


@pytest.mark.parametrize(("name", "length"), [("cut-none", 0), ("cut-some", 7)])
def test_a_cut_response_ends_after_some_bytes(azure: Driver, name: str, length: int) -> None:
    status, _, content, missing = received(azure, name)
    assert (status, len(content), missing > 0) == (201, length, True)


def test_a_cut_response_lacks_a_byte_at_least(azure: Driver) -> None:
    assert received(azure, "cut-most")[3] == 1


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("html-1", "text/html", b"<html>"),
        ("gzip-1", "application/json", b'{"not": "gzip"}'),
        ("json-1", "application/json", b'{"properties": {"provision'),
        ("text-1", "application/json", b'"OK"'),
        ("empty-1", "application/json", b""),
    ],
)
def test_a_garbled_response_is_complete(
    azure: Driver, name: str, kind: str, content: bytes
) -> None:
    status, type_, found, missing = received(azure, name)
    assert (status, type_, found[: len(content)], missing) == (200, kind, content, 0)


def test_a_garbled_response_can_be_a_404(azure: Driver) -> None:
    assert received(azure, "html404-1")[:2] == (404, "text/html")


@pytest.mark.parametrize("name", ["cut-some", "html-1"])
def test_a_put_with_a_corrupted_response_is_applied(azure: Driver, name: str) -> None:
    received(azure, name)
    assert azure.send("GET", azure.net("networkInterfaces", name), api=NETWORK_API).ok


def test_a_put_with_a_lost_response_is_applied_once(azure: Driver) -> None:
    name, vm = unique("lost"), body(azure)
    with pytest.raises(AzureError):
        azure.compute().virtual_machines.begin_create_or_update(GROUP, name, vm)

    again = azure.send("PUT", azure.vm_path(name), vm)

    assert again.status_code == 200
    first, second = log(azure, azure.vm_path(name))
    assert (first["status"], first["lost"], first["fault"]) == (201, True, 10)
    assert (second["status"], "lost" in second, "fault" in second) == (200, False, False)


def test_a_put_with_a_lost_error_is_not_applied(azure: Driver) -> None:
    with pytest.raises(requests.ConnectionError):
        put(azure, "worse-1")

    assert azure.send("GET", azure.vm_path("worse-1")).status_code == 404


def test_a_slow_response_is_delayed(azure: Driver) -> None:
    azure.send("GET", azure.vm_path("slow-1"))

    (line,) = log(azure, azure.vm_path("slow-1"))
    assert (line["answered"] - line["at"] >= 40, line["fault"]) == (True, 12)


def test_a_deletion_can_be_rejected(azure: Driver) -> None:
    vm = boot(azure, unique("stuck"))

    answers = [azure.send("DELETE", vm["id"]) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [409, 202]


def test_a_deletion_can_fail_later(azure: Driver) -> None:
    vm = boot(azure, unique("back"))

    with pytest.raises(AzureError):
        azure.compute().virtual_machines.begin_delete(GROUP, vm["name"]).result()

    assert azure.send("GET", vm["id"]).json()["properties"]["provisioningState"] == "Succeeded"


HALF = {"faults": [{"on": "vm.get", "probability": 0.5, "error": UNAVAILABLE}]}


def outcomes(azure: Driver, numbers: range) -> dict[int, list[int]]:
    """The statuses of three GETs of each of several missing VMs."""
    return {n: [azure.send("GET", azure.vm_path(f"vm-{n}")).status_code for _ in range(3)]
            for n in numbers}  # fmt: skip


def test_probability_depends_on_the_seed_and_not_on_the_order(cloud: Cloud) -> None:
    first = outcomes(cloud(HALF, "--seed", "1"), range(12))
    again = outcomes(cloud(HALF, "--seed", "1"), range(11, -1, -1))
    other = outcomes(cloud(HALF, "--seed", "2"), range(12))

    assert first == again
    assert first != other
    assert {status for statuses in first.values() for status in statuses} == {404, 503}


def test_authentication_precedes_faults(azure: Driver) -> None:
    answer = azure.bare(
        "PUT", azure.vm_path("now-1"), params={"api-version": "2026-04-01"}, json={}
    )

    assert answer.status_code == 401
