"""Evictions: whom they meet, what is announced, and what is left."""

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
        {"after": 20, "match": "^taken-", "notice": 5},
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


def deallocated(azure: Driver, path: str) -> None:
    until(lambda: power(azure, path) == "PowerState/deallocated")


@pytest.fixture(scope="module")
def taken(azure: Driver) -> dict[str, Any]:
    """A Spot VM that has been taken back, as it was."""
    name = unique("taken")
    vm = dict(put(azure, name, **SPOT).json())
    azure.gone(vm["id"])
    return vm


def test_an_evicted_vm_takes_its_interface_along(azure: Driver, taken: dict[str, Any]) -> None:
    nic = taken["properties"]["networkProfile"]["networkInterfaces"][0]["id"]

    assert azure.send("GET", nic, api="2026-03-01").status_code == 404


def test_an_evicted_vm_takes_its_disk_along(azure: Driver, taken: dict[str, Any]) -> None:
    disks = azure.send("GET", f"{azure.group}/providers/Microsoft.Compute/disks").json()["value"]

    assert not [disk for disk in disks if disk["name"].startswith(taken["name"])]


def test_the_default_policy_deallocates(azure: Driver) -> None:
    vm = boot(azure, unique("taken"), priority="Spot")

    deallocated(azure, vm["id"])

    shown = azure.send("GET", vm["id"]).json()
    assert shown["properties"]["provisioningState"] == "Succeeded"


def test_a_deallocated_vm_gives_its_place_to_another(azure: Driver) -> None:
    vm = boot(azure, unique("taken"), size="Standard_E2s_v5", priority="Spot")
    deallocated(azure, vm["id"])

    other = boot(azure, size="Standard_E2s_v5")

    assert other["properties"]["provisioningState"] == "Succeeded"


def test_a_deallocated_vm_can_be_deleted(azure: Driver) -> None:
    vm = boot(azure, unique("taken"), priority="Spot")
    deallocated(azure, vm["id"])

    azure.send("DELETE", vm["id"])

    azure.gone(vm["id"])


def test_regular_vms_are_spared_unless_asked_for(azure: Driver) -> None:
    spared = boot(azure, unique("taken"))
    meant = boot(azure, unique("any"))
    deallocated(azure, meant["id"])

    assert power(azure, spared["id"]) == "PowerState/running"


# What the VM itself sees

WATCH = """#!/bin/bash
url="$AZURE_POD_IDENTITY_AUTHORITY_HOST/metadata/scheduledevents?api-version=2020-07-01"
curl -s -H Metadata:true "$url"; echo
until curl -s -H Metadata:true "$url" | grep Preempt; do sleep 0.05; done
echo end of watch
"""


@pytest.fixture(scope="module")
def guests(cloud: Cloud) -> Driver:
    """A cloud whose VMs are processes: some are told long before, some at the last moment."""
    evictions = [
        {"after": 50, "match": "^warned-", "notice": 100_000},
        {"after": 50, "match": "^surprised-", "notice": 0},
    ]
    return cloud(
        {"evictions": evictions}, "--machines", "process", "--machine-env", "no_proxy=127.0.0.1"
    )


def run(guests: Driver, name: str, script: str) -> dict[str, Any]:
    vm = body(guests, **SPOT)
    vm["properties"]["osProfile"] = guests.vm_body("/n", script)["properties"]["osProfile"]
    answer = guests.send("PUT", guests.vm_path(name), vm)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.fixture(scope="module")
def documents(guests: Driver) -> list[dict[str, Any]]:
    """What a VM reads of its scheduled events: before and after the notice."""
    run(guests, "warned-1", WATCH)
    console = guests.state / "machines" / "warned-1" / "console.log"
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


def test_the_machine_is_killed(guests: Driver) -> None:
    script = "#!/bin/bash\necho up $$\nsleep 300\n"
    vm = run(guests, "surprised-1", script)

    guests.gone(vm["id"])

    pid = (guests.state / "consoles" / "surprised-1.log").read_text().split()[1]
    assert not Path(f"/proc/{pid}").exists()


# The draws

HALF = parse({"evictions": [{"share": 0.5, "within": [60, 600], "notice": 30}]}).evictions
NAMES = [f"vm-{n}" for n in range(200)]


def test_the_same_seed_takes_the_same_vms() -> None:
    first, again, other = ([draw(HALF, seed, n, spot=True) for n in NAMES] for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_a_share_is_taken_within_the_range() -> None:
    met = [notice for name in NAMES if (notice := draw(HALF, 0, name, spot=True))]

    assert 70 < len(met) < 130
    assert all(60 <= notice.after <= 600 and notice.notice == 30 for notice in met)


def test_the_first_of_several_evictions_comes() -> None:
    plan = parse({"evictions": [{"after": 9}, {"after": 4, "notice": 1}]})

    assert draw(plan.evictions, 0, "vm", spot=True) == Notice(4, 1)
