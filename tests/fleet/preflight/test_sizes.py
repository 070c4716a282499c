"""Sizes, by the SKUs of the subscription."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.preflight.plan import evaluate
from tests.fleet.preflight.azure_inputs import (
    inputs,
    one,
    order,
    region,
    restriction,
    sku,
    usages,
    vm,
)


@pytest.mark.parametrize(
    ("changes", "offer", "expected"),
    [
        ({}, [sku()], "ok"),
        ({"vm_size": "standard_d2s_V5"}, [sku()], "ok"),
        ({}, [], "fault"),
        ({"vm_size": "Standard_Nope"}, [sku()], "fault"),
        ({"zones": ["1", "2"]}, [sku()], "ok"),
        ({"zones": ["1", "3"]}, [sku()], "warning"),
        ({"zones": ["3"]}, [sku()], "fault"),
        ({}, [sku(restrictions=[restriction("Location", locations=["EastUS"])])], "fault"),
        ({}, [sku(restrictions=[restriction("Zone", zones=["1"])])], "ok"),
        ({"zones": ["1", "2"]}, [sku(restrictions=[restriction("Zone", zones=["1"])])], "warning"),
        ({"zones": ["1"]}, [sku(restrictions=[restriction("Zone", zones=["1"])])], "fault"),
        ({"priority": "Spot"}, [sku()], "ok"),
        ({"priority": "Spot"}, [sku(capabilities={"LowPriorityCapable": "False"})], "fault"),
        ({"vm": vm(ephemeral_os_disk=True)}, [sku()], "fault"),
        ({"fallbacks": [{"vm_size": "Standard_Nope"}]}, [sku()], "warning"),
    ],
)
def test_the_skus_determine_where_a_size_is_available(
    changes: dict[str, Any], offer: list[Any], expected: str
):
    seen = inputs(order(**changes), regions={"eastus": region(skus=offer)})
    assert one(seen, "sizes")["status"] == expected


def test_an_excluded_placement_is_reported_with_the_reason():
    closed = sku(restrictions=[restriction("Zone", zones=["1"])])
    seen = inputs(order(zones=["1", "2"]), regions={"eastus": region(skus=[closed])})
    assert one(seen, "sizes")["detail"] == (
        "eastus/1 Standard_D2s_v5: restricted (NotAvailableForSubscription)"
    )


def test_a_burstable_size_is_only_a_warning():
    size = sku("Standard_B16s_v2", "standardBsv2Family")
    regions = {"eastus": region(skus=[size], usages=usages(standardBsv2Family=100))}
    seen = inputs(order(vm_size="Standard_B16s_v2"), regions=regions)
    assert (one(seen, "burstable")["status"], evaluate(seen)["faults"]) == ("warning", [])


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("Standard_D2s", " (did you mean Standard_D2s_v5?)"),
        ("D2s_v5", " (did you mean Standard_D2s_v5?)"),
        ("Bogus", ""),
    ],
)
def test_a_mistyped_size_is_recognised(asked: str, hint: str):
    seen = inputs(order(vm_size=asked), regions={"eastus": region(skus=[sku()])})
    assert one(seen, "sizes")["detail"] == (
        f"eastus {asked}: size not offered in the location{hint}"
    )
