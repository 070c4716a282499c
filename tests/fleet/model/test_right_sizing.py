"""When a smaller VM size would have done, which one, and what is said where that is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.model.costs import PlacementHours
from fleet.model.right_sizing import (
    GIB,
    MIN_TRIALS,
    RightSizing,
    VmUse,
    assess,
    conclude,
    main_placement,
    parse,
)
from tests.fleets import placement

PER_HOUR = {
    "d2ls_v5": 0.085, "d2s_v5": 0.096, "d4ls_v5": 0.17, "d4s_v5": 0.192, "e2s_v5": 0.126,
    "e4s_v5": 0.252,
}  # fmt: skip
PRICES: Any = {
    f"eastus/standard_{name}": {"per_hour": price, "regular": price}
    for name, price in PER_HOUR.items()
}


def use(vcpus: float, gib: float, size: str = "Standard_E4s_v5") -> VmUse:
    """A VM that sees all vCPUs of its size, and most of the memory."""
    known = parse(size)
    assert known is not None
    return VmUse(known.vcpus, int(0.97 * known.gib * GIB), vcpus, int(gib * GIB))


def sized(
    *uses: VmUse, size: str = "Standard_E4s_v5", trials: int = MIN_TRIALS, prices: Any = PRICES
) -> RightSizing:
    return conclude(assess(placement(vm_size=size), uses, trials), prices)


@pytest.mark.parametrize(
    ("uses", "found"),
    [
        ([use(3.9, 9.0)], "Standard_D4s_v5"),
        ([use(3.9, 6.0)], "Standard_D4ls_v5"),
        ([use(1.6, 3.2)], "Standard_D2ls_v5"),  # 80 % of two vCPUs and of 4 GiB
        ([use(1.6, 3.3)], "Standard_D2s_v5"),
        ([use(1.7, 3.2)], "Standard_D4ls_v5"),
        ([use(1.6, 12.8)], "Standard_E2s_v5"),
        ([use(1.0, 1.0), use(1.6, 12.8)], "Standard_E2s_v5"),  # the VM that used most decides
        ([use(3.9, 12.9)], None),
    ],
)
def test_the_cheapest_size_that_would_have_done(uses: list[VmUse], found: str | None):
    suggestion = sized(*uses)["suggestion"]
    assert (suggestion and suggestion["vm_size"]) == found


def test_the_message_says_what_was_used_and_what_it_saves():
    assert sized(use(3.9, 9.0))["message"] == (
        "Half the memory would have done: Standard_D4s_v5 at $0.192 per hour rather than "
        "Standard_E4s_v5 at $0.252, 24% less; the VMs used up to 9.0 of 32 GiB and 3.9 of 4 vCPUs. "
        "Timings on different sizes are not comparable."
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"uses": []}, "Not enough evidence for a smaller size: no VM has reported what it used."),
        (
            {"trials": MIN_TRIALS - 1},
            "Not enough evidence for a smaller size: 9 of 10 trials have finished.",
        ),
        (
            {"uses": [VmUse(2, 23 * GIB, 1.0, GIB)]},
            "Not enough evidence for a smaller size: a VM has 2 vCPUs and 23.0 GiB, unlike "
            "Standard_E4s_v5.",
        ),
        (
            {"uses": [use(3.9, 30.0)]},
            "No smaller size would have done: the VMs used up to 30.0 of 32 GiB and 3.9 of 4 vCPUs.",
        ),
        (
            {"prices": {}},
            "A smaller size would have done, but no price is known for Standard_E4s_v5.",
        ),
        (
            {"prices": {key: PRICES[key] for key in ["eastus/standard_e4s_v5"]}},
            "A smaller size would have done, but no price is known for Standard_D4s_v5.",
        ),
        (
            {"prices": dict.fromkeys(PRICES, PRICES["eastus/standard_e4s_v5"])},
            "No smaller size is cheaper.",
        ),
        ({"size": "Standard_NC4as_T4_v3"}, "No size is compared with Standard_NC4as_T4_v3."),
        ({"size": "Standard_E4-2s_v5"}, "No size is compared with Standard_E4-2s_v5."),
    ],
)
def test_without_a_suggestion_the_message_says_why(how: dict[str, Any], message: str):
    found = sized(*how.pop("uses", [use(3.9, 9.0)]), **how)
    assert (found["suggestion"], found["message"]) == (None, message)


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("Standard_D2s_v5", {"Standard_D2ls_v5"}),
        ("Standard_E4as_v5", {
            "Standard_D4als_v5", "Standard_D4as_v5", "Standard_D2als_v5", "Standard_D2as_v5",
            "Standard_E2as_v5",
        }),
        ("Standard_B4s_v2", {"Standard_B4ls_v2", "Standard_B2ls_v2", "Standard_B2s_v2"}),
        ("Standard_D4ps_v5", {"Standard_D4pls_v5", "Standard_D2pls_v5", "Standard_D2ps_v5",
                              "Standard_E2ps_v5"}),
    ],
)  # fmt: skip
def test_smaller_sizes_have_the_same_cpu_and_generation(name: str, smaller: set[str]):
    size = parse(name)
    assert size is not None
    assert {one.name for one in size.smaller()} == smaller


def test_the_size_with_the_most_vm_hours_counts_in_all_zones():
    def hours(zone: str | None, size: str, count: float) -> PlacementHours:
        where = placement(zone, vm_size=size)
        return {"placement": where, "vm_hours": count, "alive": 0, "ending": 0}

    zonal = [hours("1", "Standard_D2s_v5", 2.0), hours("2", "Standard_D2s_v5", 2.0)]
    found = main_placement([hours(None, "Standard_E4s_v5", 3.0), *zonal])
    assert (found and found["vm_size"], main_placement([])) == ("Standard_D2s_v5", None)
