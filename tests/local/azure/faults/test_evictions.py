"""Evictions: which VMs are selected, their notice, and their effects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from local.azure.faults.evictions import Notice, draw
from local.azure.faults.plan import parse
from tests.local.azure.driver import Driver, unique, until
from tests.local.azure.faults.conftest import Cloud
from tests.local.azure.faults.vms import body, boot, put

SPOT = {"priority": "Spot", "evictionPolicy": "Delete"}
PLAN = {
    "evictions": [
        {"after": 20, "match": "^evicted-", "notice": 5},
        {"after": 20, "match": "^any-", "notice": 5, "priority": "any"},
    ],
    "capacity": [{"size": "Standard_E2s_v5", "vms": 1}],
}


@pytest.fixture(scope="module")
def azure(cloud: Cloud) -> Driver:
    return cloud(PLAN)


def power(azure: Driver, path: str) -> str:
    statuses = azure.send("GET", f"{path}/instanceView").json()["statuses"]
    return str(statuses[-1]["code"])


def wait_deallocated(azure: Driver, path: str) -> None:
    until(lambda: power(azure, path) == "PowerState/deallocated")


@pytest.fixture(scope="module")
def evicted(azure: Driver) -> dict[str, Any]:
    """A Spot VM, before it was evicted."""
    name = unique("evicted")
    vm = dict(put(azure, name, **SPOT).json())
    azure.wait_until_deleted(vm["id"])
    return vm


def test_an_evicted_vms_interface_is_deleted(azure: Driver, evicted: dict[str, Any]) -> None:
    nic = evicted["properties"]["networkProfile"]["networkInterfaces"][0]["id"]

    assert azure.send("GET", nic, api="2026-03-01").status_code == 404


def test_an_evicted_vms_disk_is_deleted(azure: Driver, evicted: dict[str, Any]) -> None:
    disks = azure.send("GET", f"{azure.group}/providers/Microsoft.Compute/disks").json()["value"]

    assert not [disk for disk in disks if disk["name"].startswith(evicted["name"])]


def test_the_default_policy_deallocates(azure: Driver) -> None:
    vm = boot(azure, unique("evicted"), priority="Spot")

    wait_deallocated(azure, vm["id"])

    shown = azure.send("GET", vm["id"]).json()
    assert shown["properties"]["provisioningState"] == "Succeeded"


def test_a_deallocated_vm_releases_its_capacity(azure: Driver) -> None:
    vm = boot(azure, unique("evicted"), size="Standard_E2s_v5", priority="Spot")
    wait_deallocated(azure, vm["id"])

    other = boot(azure, size="Standard_E2s_v5")

    assert other["properties"]["provisioningState"] == "Succeeded"


def test_a_deallocated_vm_can_be_deleted(azure: Driver) -> None:
    vm = boot(azure, unique("evicted"), priority="Spot")
    wait_deallocated(azure, vm["id"])

    azure.send("DELETE", vm["id"])

    azure.wait_until_deleted(vm["id"])


def test_regular_vms_are_evicted_only_on_request(azure: Driver) -> None:
    spared = boot(azure, unique("evicted"))
    meant = boot(azure, unique("any"))
    wait_deallocated(azure, meant["id"])

    assert power(azure, spared["id"]) == "PowerState/running"


# Inside the VM

WATCH = """#!/bin/bash
url="$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata/scheduledevents?api-version=2020-07-01"
curl -s -H Metadata:true "$url"; echo
until curl -s -H Metadata:true "$url" | grep Preempt; do sleep 0.05; done
echo end of watch
"""


@pytest.fixture(scope="module")
def azure_processes(cloud: Cloud) -> Driver:
    """A simulator that runs VMs as processes: some get a long notice, some none."""
    evictions = [
        {"after": 50, "match": "^warned-", "notice": 100_000},
        {"after": 50, "match": "^unwarned-", "notice": 0},
    ]
    return cloud(
        {"evictions": evictions}, "--machines", "process", "--machine-env", "no_proxy=127.0.0.1"
    )


def run(azure_processes: Driver, name: str, script: str) -> dict[str, Any]:
    vm = body(azure_processes, **SPOT)
    vm["properties"]["osProfile"] = azure_processes.vm_body("/n", script)["properties"]["osProfile"]
    answer = azure_processes.send("PUT", azure_processes.vm_path(name), vm)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture(scope="module")
def documents(azure_processes: Driver) -> list[dict[str, Any]]:
    """The scheduled events that a VM reads before and after the notice."""
    run(azure_processes, "warned-1", WATCH)
    console = azure_processes.state / "vms" / "warned-1" / "console.log"
    until(lambda: console.exists() and "end of watch" in console.read_text())
    return [json.loads(line) for line in console.read_text().splitlines() if line[0] == "{"]


def test_the_notice_is_in_the_metadata(documents: list[dict[str, Any]]) -> None:
    (event,) = documents[1]["Events"]

    assert event["EventType"] == "Preempt"
    assert event["EventStatus"] == "Scheduled"
    assert event["Resources"] == ["warned-1"]
    assert event["NotBefore"].endswith(" GMT")


def test_a_new_document_has_a_new_number(documents: list[dict[str, Any]]) -> None:
    numbers = [(document["DocumentIncarnation"], len(document["Events"])) for document in documents]

    assert numbers == [(1, 0), (2, 1)]


def test_the_vms_processes_are_killed(azure_processes: Driver) -> None:
    script = "#!/bin/bash\necho up $$\nsleep 300\n"
    vm = run(azure_processes, "unwarned-1", script)

    azure_processes.wait_until_deleted(vm["id"])

    pid = (azure_processes.state / "consoles" / "unwarned-1.log").read_text().split()[1]
    assert not Path(f"/proc/{pid}").exists()


# Draws

HALF = parse({"evictions": [{"share": 0.5, "within": [60, 600], "notice": 30}]}).evictions
NAMES = [f"vm-{n}" for n in range(200)]


def test_the_same_seed_evicts_the_same_vms() -> None:
    first, again, other = ([draw(HALF, seed, n, spot=True) for n in NAMES] for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_the_share_is_evicted_within_the_range() -> None:
    drawn = [notice for name in NAMES if (notice := draw(HALF, 0, name, spot=True))]

    assert 70 < len(drawn) < 130
    assert all(60 <= notice.after <= 600 and notice.notice == 30 for notice in drawn)


def test_the_earliest_eviction_applies() -> None:
    plan = parse({"evictions": [{"after": 9}, {"after": 4, "notice": 1}]})

    assert draw(plan.evictions, 0, "vm", spot=True) == Notice(4, 1)
