"""Quotas in vCPUs, by family, region and priority."""

from __future__ import annotations

import pytest

from fleet.preflight.plan import evaluate
from tests.fleet.preflight.azure_inputs import (
    inputs,
    one,
    order,
    region,
    restriction,
    sku,
    statuses,
    usages,
)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ({}, "ok"),
        ({"standardDSv5Family": 20}, "ok"),
        ({"standardDSv5Family": 14}, "warning"),
        ({"cores": 14}, "warning"),
        ({"standardDSv5Family": 3}, "fault"),
        ({"cores": 0}, "fault"),
        ({"cores": -4}, "fault"),  # a limit that was lowered below the usage
        ({"lowPriorityCores": 0}, "ok"),
        ({"standardDSv5Family": None}, "unknown"),
        ({"standardDSv5Family": None, "cores": 14}, "warning"),
    ],
)
def test_quotas_are_counted_in_vcpus(rest: dict[str, int | None], expected: str):
    seen = inputs(regions={"eastus": region(usages=usages(**rest))})
    assert statuses(seen, "quota") == [expected]


def test_a_check_reports_the_numbers_behind_it():
    seen = inputs(regions={"eastus": region(usages=usages(standardDSv5Family=14))})
    assert one(seen, "quota")["detail"] == (
        "7 of 10 VMs fit: standardDSv5Family in eastus has 14 of 100 left;"
        " a Standard_D2s_v5 requires 2"
    )


def test_family_names_ignore_spaces_and_case():
    stray = {"limit": 100, "currentValue": 86, "name": {"value": " StandardDsv5Family"}}
    other = [*usages(standardDSv5Family=None), stray]
    seen = inputs(regions={"eastus": region(usages=other)})
    assert one(seen, "quota")["detail"].startswith("7 of 10 VMs fit")


def test_spot_has_a_separate_quota():
    spot = order(priority="Spot")
    rest = usages(cores=0, standardDSv5Family=0, lowPriorityCores=14)
    seen = inputs(spot, regions={"eastus": region(usages=rest)})
    assert one(seen, "quota")["detail"].startswith("7 of 10 VMs fit: lowPriorityCores")


def test_placements_of_one_family_share_its_quota():
    requested = order(fallbacks=[{"vm_size": "Standard_D4s_v5"}])
    skus = [sku(), sku("Standard_D4s_v5", capabilities={"vCPUs": "4"})]
    seen = inputs(
        requested, regions={"eastus": region(skus=skus, usages=usages(standardDSv5Family=15))}
    )
    assert one(seen, "quota")["detail"].startswith("7 of 10 VMs fit")


def test_placements_of_two_families_share_the_regional_quota():
    requested = order(fallbacks=[{"vm_size": "Standard_F2s_v2"}])
    skus = [sku(), sku("Standard_F2s_v2", "standardFSv2Family")]
    rest = usages(cores=16, standardDSv5Family=10, standardFSv2Family=10)
    seen = inputs(requested, regions={"eastus": region(skus=skus, usages=rest)})
    assert one(seen, "quota")["detail"].startswith("8 of 10 VMs fit")


def test_a_fallback_takes_the_vms_above_the_first_placements_quota():
    requested = order(fallbacks=[{"location": "westus"}])
    regions = {"eastus": region(usages=usages(cores=4)), "westus": region()}
    assert statuses(inputs(requested, regions=regions), "quota") == ["ok"]


def test_a_placement_excluded_by_the_skus_does_not_count():
    requested = order(fallbacks=[{"location": "westus"}])
    closed = sku(restrictions=[restriction("Location", locations=["eastus"])])
    regions = {"eastus": region(skus=[closed]), "westus": region(usages=usages(cores=14))}
    assert one(inputs(requested, regions=regions), "quota")["detail"].startswith("7 of 10 VMs fit")


def test_quotas_are_reported_even_if_no_placement_is_open():
    closed = sku(restrictions=[restriction("Location", locations=["eastus"])])
    seen = inputs(regions={"eastus": region(skus=[closed], usages=usages(cores=0))})
    codes = [fault["code"] for fault in evaluate(seen)["faults"]]
    assert codes == ["SizeNotAvailable", "QuotaTooSmall"]
