"""Quotas, capacity and restrictions."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.core.exceptions import HttpResponseError

from tests.local.azure.driver import GROUP, Driver, code, unique
from tests.local.azure.faults.conftest import Cloud
from tests.local.azure.faults.vms import body, boot, delete, failure, put

PLAN = {
    "quotas": {
        "eastus": {"standardDSv5Family": 4, "standardESv5Family": 2, "standardFSv2Family": 4},
        "*": {"standardFSv2Family": 2, "standardDASv5Family": 2, "lowPriorityCores": 2},
    },
    "capacity": [
        {"zone": "1", "size": "Standard_D2ds_v5", "vms": 1},
        {"zone": None, "size": "Standard_D2ds_v5", "vms": 1},
        {"size": "Standard_D2s_v6", "vms": 0},
    ],
    "restrictions": [
        {"location": "eastus", "zones": ["1", "2"], "size": "Standard_D4s_v3"},
        {"location": "eastus", "size": "Standard_D8s_v3"},
    ],
}


@pytest.fixture(scope="module")
def azure(cloud: Cloud) -> Driver:
    return cloud(PLAN)


# Quotas


def test_a_vm_over_its_familys_quota_is_rejected_with_the_figures(azure: Driver) -> None:
    vm = body(azure, size="Standard_D8s_v5")

    with pytest.raises(HttpResponseError) as rejected:
        azure.compute().virtual_machines.begin_create_or_update(GROUP, unique("vm"), vm)

    error = rejected.value
    assert (error.status_code, error.error.code) == (409, "OperationNotAllowed")
    assert (
        "exceeding approved standardDSv5Family Cores quota. Additional details - Deployment Model: "
        "Resource Manager, Location: eastus, Current Limit: 4, Current Usage: 0, Additional Required: "
        "8, (Minimum) New Limit Required: 8." in error.error.message
    )


def test_a_rejected_vm_does_not_exist(azure: Driver) -> None:
    name = unique("vm")

    put(azure, name, size="Standard_D8s_v5")

    assert azure.send("GET", azure.vm_path(name)).status_code == 404


def test_a_deleted_vm_releases_its_quota(azure: Driver) -> None:
    vm = boot(azure, size="Standard_E2s_v5")
    rejected = put(azure, size="Standard_E2s_v5")
    delete(azure, vm["id"])

    assert (rejected.status_code, put(azure, size="Standard_E2s_v5").status_code) == (409, 201)


def test_concurrent_puts_do_not_exceed_a_quota(azure: Driver) -> None:
    bodies = [body(azure, size="Standard_F2s_v2") for _ in range(6)]

    with ThreadPoolExecutor(6) as pool:
        responses = pool.map(lambda vm: azure.send("PUT", azure.vm_path(unique("vm")), vm), bodies)

    assert sorted(answer.status_code for answer in responses) == [201, 201, 409, 409, 409, 409]


def test_a_repeated_put_uses_no_quota(azure: Driver) -> None:
    name, vm = unique("vm"), body(azure, size="Standard_D2as_v5")
    azure.send("PUT", azure.vm_path(name), vm)

    assert azure.send("PUT", azure.vm_path(name), vm).status_code == 200


def test_spot_has_a_separate_quota(azure: Driver) -> None:
    spot = {"size": "Standard_D2as_v5", "priority": "Spot"}

    answers = [put(azure, **spot), put(azure, **spot)]

    assert [answer.status_code for answer in answers] == [201, 409]
    assert "exceeding approved LowPriorityCores quota" in answers[1].text


def test_usages_show_limits_and_usage(cloud: Cloud) -> None:
    azure = cloud({"quotas": {"eastus": {"cores": 3}, "*": {"cores": 7, "virtualMachines": 9}}})
    put(azure)
    answer = put(azure)

    shown = {u.name.value: (u.current_value, u.limit) for u in azure.compute().usage.list("eastus")}

    assert "exceeding approved Total Regional Cores quota" in answer.text
    assert (shown["cores"], shown["virtualMachines"]) == ((2, 3), (1, 9))
    assert shown["standardDSv5Family"] == (2, 100_000)


def test_the_limits_of_a_location_take_precedence(azure: Driver) -> None:
    def limit(location: str) -> int:
        usages = azure.compute().usage.list(location)
        return next(u.limit for u in usages if u.name.value == "standardFSv2Family")

    assert (limit("eastus"), limit("westus2")) == (4, 2)


# Capacity


def test_a_zone_at_capacity_does_not_affect_another_zone(azure: Driver) -> None:
    here = [boot(azure, size="Standard_D2ds_v5", zone="1") for _ in range(2)]
    there = boot(azure, size="Standard_D2ds_v5", zone="2")

    assert failure(azure, here[1]) == "ProvisioningState/failed/ZonalAllocationFailed"
    assert [vm["properties"]["provisioningState"] for vm in (here[0], there)] == ["Succeeded"] * 2


def test_a_region_at_capacity(azure: Driver) -> None:
    boot(azure, size="Standard_D2ds_v5")

    failed = boot(azure, size="Standard_D2ds_v5")

    assert failure(azure, failed) == "ProvisioningState/failed/AllocationFailed"


def test_a_failed_vm_uses_quota_but_no_capacity(cloud: Cloud) -> None:
    azure = cloud({"quotas": {"*": {"cores": 4}}, "capacity": [{"vms": 1}]})
    first, failed = boot(azure), boot(azure)

    full = put(azure)
    delete(azure, first["id"])
    third = boot(azure)

    assert failed["properties"]["provisioningState"] == "Failed"
    assert code(full) == "OperationNotAllowed"
    assert third["properties"]["provisioningState"] == "Succeeded"


def test_a_put_of_a_failed_vm_retries_the_allocation(cloud: Cloud) -> None:
    azure = cloud({"capacity": [{"vms": 1}]})
    first, name, vm = boot(azure), unique("vm"), body(azure)
    azure.send("PUT", azure.vm_path(name), vm)
    azure.settled(azure.vm_path(name))
    delete(azure, first["id"])

    azure.send("PUT", azure.vm_path(name), vm)

    shown = azure.settled(azure.vm_path(name))
    assert shown["properties"]["provisioningState"] == "Succeeded"


def test_a_size_without_capacity_fails_everywhere(azure: Driver) -> None:
    assert failure(azure, boot(azure, size="Standard_D2s_v6", zone="3")).endswith(
        "/ZonalAllocationFailed"
    )


# Restrictions


@pytest.mark.parametrize(
    ("size", "zone", "status"),
    [
        ("Standard_D4s_v3", "1", 409),
        ("Standard_D4s_v3", "3", 201),
        ("Standard_D4s_v3", None, 201),
        ("Standard_D8s_v3", "3", 409),
        ("Standard_D8s_v3", None, 409),
        ("standard_d8s_v3", None, 409),
    ],
)
def test_a_size_is_restricted(azure: Driver, size: str, zone: str | None, status: int) -> None:
    answer = put(azure, size=size, zone=zone)

    assert answer.status_code == status
    assert status == 201 or code(answer) == "SkuNotAvailable"


def test_skus_show_a_zone_restriction(azure: Driver) -> None:
    (restriction,) = restrictions(azure, "Standard_D4s_v3", "eastus")

    assert (restriction.type, restriction.values_property) == ("Zone", ["eastus"])
    assert restriction.restriction_info.zones == ["1", "2"]
    assert restriction.reason_code == "NotAvailableForSubscription"


def test_skus_show_a_location_restriction(azure: Driver) -> None:
    (restriction,) = restrictions(azure, "Standard_D8s_v3", "eastus")

    assert (restriction.type, restriction.restriction_info.zones) == ("Location", None)


def test_another_location_has_no_restriction(azure: Driver) -> None:
    assert restrictions(azure, "Standard_D8s_v3", "westus2") == []


def test_the_body_is_checked_first(azure: Driver) -> None:
    vm = body(azure, size="Standard_D8s_v3")
    del vm["properties"]["osProfile"]

    answer = azure.send("PUT", azure.vm_path(unique("vm")), vm)

    assert code(answer) == "InvalidParameter"


def restrictions(azure: Driver, size: str, location: str) -> list[object]:
    skus = azure.compute().resource_skus.list(filter=f"location eq '{location}'")
    return list(next(sku for sku in skus if sku.name == size).restrictions)


def test_the_error_names_the_size(azure: Driver) -> None:
    answer = put(azure, size="Standard_D8s_v3")

    assert re.search(r"Capacity Restrictions: Standard_D8s_v3' .* 'eastus'", answer.text)
