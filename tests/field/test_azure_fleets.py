"""Whole fleets under the faults that people have reported of Azure; `test_azure` has the sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import Api, existing_resources, experiment, wire

pytestmark = pytest.mark.long

CUT, BOOT, ZONE = 4201, 4202, 4203
FLEETS: dict[int, dict[str, Any]] = {
    CUT: {"n_instances": 3},
    BOOT: {"n_instances": 5},
    ZONE: {"n_instances": 4, "zones": ["1", "2"]},
}
OF_ALL = ("group.get", "skus", "usages", "nsg.get", "nsg.put", "vnet.get", "vnet.put")
OF_A_VM = ("nic.put", "vm.put", "role.put", "vm.delete", "role.delete")
LISTS = ("vm.list", "nic.list", "disk.list", "role.list")
CORRUPTIONS: tuple[dict[str, Any], ...] = (
    {"cut": 0},
    {"cut": 200, "nth": [3]},
    {"garbled": "html", "nth": [5]},
)
STARTED = {"code": "VMStartTimedOut", "message": "VM '$vm' did not start in the allotted time."}
ODD = {"code": "ThermalEvent", "message": "The rack of '$vm' is too warm."}

FAULTS = [
    *(
        {"on": on, "nth": [1], **corruption}
        for on in (*OF_ALL, *LISTS)
        for corruption in CORRUPTIONS
    ),
    *(
        {"on": on, "match": f"-{CUT}-", "nth": [1], **corruption}
        for on in OF_A_VM
        for corruption in CORRUPTIONS
    ),
    {"on": "token", "nth": [1], "cut": 50},
    {"on": "vm.boot", "match": f"-{BOOT}-000[0-2]$", "times": 3, "error": STARTED},
    {"on": "vm.boot", "match": f"-{ZONE}-", "zone": "1", "error": ODD},
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state: Path = tmp_path_factory.mktemp("field")
    settings = {"FLEET_BOOT_POLL_SECONDS": "1", "FLEET_RUN_POLL_SECONDS": "1.5"}
    faults = {"faults": FAULTS}
    with Stack(
        state, time_scale=0.01, machines="none", faults=faults, app_settings=settings
    ) as running:
        for batch, asked in FLEETS.items():
            number = experiment(running, trials=asked["n_instances"])
            Api(running).start(experiment_id=number, batch_id=batch, **asked)
        yield running


@pytest.fixture(scope="module")
def ended(stack: Stack) -> dict[int, dict[str, Any]]:
    """Each fleet as it was once it ran; all have been ended since."""
    api = Api(stack)
    ran = {batch: api.wait(f"fleet-{batch}", "run", timeout=150) for batch in FLEETS}
    for batch in FLEETS:
        api.end(f"fleet-{batch}")
    return ran


@pytest.mark.parametrize("batch", FLEETS)
def test_every_vm_runs(ended: dict[int, dict[str, Any]], batch: int):
    assert ended[batch]["machines"]["running"] == FLEETS[batch]["n_instances"]


@pytest.mark.parametrize("batch", FLEETS)
def test_nothing_is_left(stack: Stack, ended: dict[int, dict[str, Any]], batch: int):
    assert existing_resources(stack, batch) == []


def test_the_response_to_every_kind_of_call_was_corrupted(
    stack: Stack, ended: dict[int, dict[str, Any]]
):
    corrupted = {FAULTS[line["fault"]]["on"] for line in wire(stack) if line.get("lost")}
    assert corrupted == {*OF_ALL, *LISTS, *OF_A_VM, "token"}


def test_no_vm_is_created_twice_or_deleted_for_a_corrupted_response(
    stack: Stack, ended: dict[int, dict[str, Any]]
):
    created = Counter(
        line["path"]
        for line in wire(stack, batch=CUT)
        if line["method"] == "PUT" and line["status"] == 201 and "/virtualMachines/" in line["path"]
    )
    vms = [path for path in created if "/roleAssignments/" not in path]
    assert (len(vms), set(created.values())) == (3, {1})


def test_boots_that_time_out_are_replaced(stack: Stack, ended: dict[int, dict[str, Any]]):
    codes = {one["code"]: one["count"] for one in ended[BOOT]["failures"]}
    assert codes["VMStartTimedOut"] == 3


def test_an_unrecognised_error_of_one_zone_leaves_the_other(
    stack: Stack, ended: dict[int, dict[str, Any]]
):
    machines = Api(stack).machines(f"fleet-{ZONE}")
    ran = {one["placement"]["zone"] for one in machines if one["failure"] is None}
    assert ran == {"2"}
