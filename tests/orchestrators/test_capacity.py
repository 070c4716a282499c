"""Restricted sizes, quotas and failed allocations: how fleets handle a lack of capacity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.harness import Api, existing_resources, experiment, wire

pytestmark = pytest.mark.long  # test_failures.py has a fleet for each of these errors

SIZE = "Standard_D2s_v5"
ZONES = ["1", "2", "3"]
FAULTS: dict[str, Any] = {
    "quotas": {"westus2": {"standardDSv5Family": 14}},
    "faults": [
        {"on": "vm.put", "location": "eastus2", "zone": "1", "error": "SkuNotAvailable"},
        {
            "on": "vm.boot",
            "location": "centralus",
            "probability": 0.3,
            "error": "ZonalAllocationFailed",
        },
        {"on": "role.put", "match": "-9004-0000/", "nth": [1, 2, 3], "error": "PrincipalNotFound"},
    ],
}


RESTRICTED, LIMITED, UNLUCKY, UNKNOWN = 9001, 9002, 9003, 9004
FLEETS: dict[int, dict[str, Any]] = {
    RESTRICTED: {"n_instances": 20, "location": "eastus2", "zones": ZONES},
    LIMITED: {"n_instances": 10, "location": "westus2"},
    UNLUCKY: {"n_instances": 30, "location": "centralus", "zones": ZONES},
    UNKNOWN: {"n_instances": 6, "max_undead": 2},
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with different faults in each region, and one fleet per region."""
    state: Path = tmp_path_factory.mktemp("faulty")
    with Stack(state, time_scale=0.01, machines="none", faults=FAULTS) as stack:
        for batch, fields in FLEETS.items():
            number = experiment(stack, trials=fields["n_instances"])
            Api(stack).start(experiment_id=number, vm_size=SIZE, batch_id=batch, **fields)
        yield stack


def provisioned(stack: Stack, batch: int) -> dict[str, Any]:
    """The status of a fleet that has all the VMs it can get. The fleet is then cancelled."""
    api, fleet_id = Api(stack), f"fleet-{batch}"
    fleet = api.wait(fleet_id, "run", "failed", timeout=90)
    api.end(fleet_id)
    return fleet


def vm_puts(stack: Stack, batch: int) -> list[dict[str, Any]]:
    marker = "/virtualmachines/"
    return [
        call
        for call in wire(stack, batch=batch)
        if call["method"] == "PUT" and call["path"].lower().rpartition("/")[0].endswith(marker[:-1])
    ]


# A size that is not available in one zone of three


@pytest.fixture(scope="module")
def restricted(faulty: Stack) -> dict[str, Any]:
    return provisioned(faulty, RESTRICTED)


def test_a_restricted_zone_costs_one_put(faulty: Stack, restricted: dict[str, Any]):
    refused = [call for call in vm_puts(faulty, RESTRICTED) if call["status"] >= 400]
    assert [(call["status"], call["body"]["zones"]) for call in refused] == [(409, ["1"])]


def test_all_vms_run_in_the_other_zones(faulty: Stack, restricted: dict[str, Any]):
    made = [
        call["body"]["zones"][0] for call in vm_puts(faulty, RESTRICTED) if call["status"] < 300
    ]
    assert (restricted["machines"]["running"], Counter(made)) == (20, {"2": 10, "3": 10})


def test_the_refused_vms_record_names_the_action(faulty: Stack, restricted: dict[str, Any]):
    ended = [one for one in Api(faulty).machines(f"fleet-{RESTRICTED}") if one["failure"]]
    assert [(one["state"], one["failure"]["code"], one["failure"]["action"]) for one in ended] == [
        ("refused", "SkuNotAvailable", "tried the next zone")
    ]


def test_a_fleet_that_changed_zones_leaves_nothing(faulty: Stack, restricted: dict[str, Any]):
    assert existing_resources(faulty, RESTRICTED) == []


# A quota with room for seven of ten


@pytest.fixture(scope="module")
def limited(faulty: Stack) -> dict[str, Any]:
    return provisioned(faulty, LIMITED)


def test_as_many_vms_run_as_the_quota_allows(limited: dict[str, Any]):
    assert (limited["phase"], limited["machines"]["running"]) == ("run", 7)


def test_the_other_vms_are_missing_for_one_reason(limited: dict[str, Any]):
    assert limited["missing"] == {"FamilyQuotaExceeded": 3}


def test_the_reason_names_the_limit_and_what_to_do(limited: dict[str, Any]):
    (group,) = limited["failures"]
    named = ["Current Limit: 14" in group["message"], "standardDSv5Family" in group["message"]]
    assert (named, "Request a quota increase" in group["advice"]) == ([True, True], True)


# Allocations that fail in three of ten cases


@pytest.fixture(scope="module")
def unlucky(faulty: Stack) -> dict[str, Any]:
    return provisioned(faulty, UNLUCKY)


def test_the_fleet_reaches_its_size(unlucky: dict[str, Any]):
    assert (unlucky["machines"]["running"], unlucky["missing"]) == (30, {})


def test_the_status_counts_attempts_by_zone_and_code(unlucky: dict[str, Any]):
    failed = sum(
        placement["failed"].get("ZonalAllocationFailed", 0) for placement in unlucky["placements"]
    )
    accepted = sum(placement["accepted"] for placement in unlucky["placements"])
    assert (len(unlucky["placements"]), accepted - failed, failed > 0) == (3, 30, True)


# An identity that is unknown for more than a minute


@pytest.fixture(scope="module")
def unknown(faulty: Stack) -> dict[str, Any]:
    return provisioned(faulty, UNKNOWN)


def test_all_vms_eventually_get_their_role(unknown: dict[str, Any]):
    assert (unknown["machines"]["running"], unknown["machines"]["role_assigned"]) == (6, 6)


def test_the_identity_was_unknown_for_a_minute(faulty: Stack, unknown: dict[str, Any]):
    tries = first_roles(faulty)
    assert tries[-1]["at"] - tries[0]["at"] > 60


def test_no_other_vm_waits_for_its_role(faulty: Stack, unknown: dict[str, Any]):
    granted = first_roles(faulty)[-1]["at"]
    assert [call for call in vm_puts(faulty, UNKNOWN) if call["answered"] > granted] == []


def first_roles(stack: Stack) -> list[dict[str, Any]]:
    """The attempts to assign the first VM's role, in order."""
    calls = wire(stack, batch=UNKNOWN)
    return [
        call for call in calls if call["method"] == "PUT" and f"-{UNKNOWN}-0000/" in call["path"]
    ]
