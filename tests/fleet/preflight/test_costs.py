"""What a plan says about cost: the estimate, and the limits of the request and the deployment."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.preflight.costs import estimate
from fleet.preflight.plan import evaluate
from fleet.preflight.plan_inputs import PlanInputs
from tests.fleet.preflight.azure_inputs import NO_ANSWER, inputs, one, order

SIZE = "eastus/standard_d2s_v5"
LARGER = {"eastus/standard_d8s_v5": {"per_hour": 0.4, "regular": 0.4}}
FALLBACK = {"fallbacks": [{"vm_size": "Standard_D8s_v5"}]}


def plan_of(mean: Any = None, larger: bool = False, **changes: Any) -> PlanInputs:
    """Fifty open trials on ten VMs at ten cents, for an hour."""
    prices = {SIZE: {"per_hour": 0.1, "regular": 0.1}, **(LARGER if larger else {})}
    limits = {
        name: changes.pop(name) for name in ("cost_limit", "cost_settings") if name in changes
    }
    return inputs(order(**changes), prices=prices, mean_seconds=mean, **limits)


@pytest.mark.parametrize(
    ("seen", "expected", "seconds", "at_most"),
    [
        (
            plan_of(mean=60.0),
            0.166667,
            600.0,
            1.0,
        ),  # five minutes to start, five trials of a minute
        (plan_of(timeout=120.0), 0.25, 900.0, 1.0),
        (plan_of(mean=60.0, timeout=120.0), 0.166667, 600.0, 1.0),
        (plan_of(mean=3600.0), 1.0, 3600.0, 1.0),  # not beyond max_lifetime
        (plan_of(), None, None, 1.0),
        (plan_of(mean=NO_ANSWER), None, None, 1.0),
        (plan_of(larger=True, **FALLBACK), None, None, 4.0),
        (plan_of(mean=3600.0, max_cost=0.5), 1.0, 3600.0, 0.5),
    ],
)
def test_the_estimate(
    seen: PlanInputs, expected: float | None, seconds: float | None, at_most: float
):
    found = estimate(seen)
    assert found is not None
    rounded = found["expected"] and round(found["expected"], 6)
    assert (found["per_hour"], rounded, found["expected_seconds"], found["at_most"]) == (
        1.0,
        expected,
        seconds,
        at_most,
    )


@pytest.mark.parametrize(
    ("seen", "basis"),
    [
        (plan_of(mean=60.0), "5 trials per VM, 60 s each: the mean of the finished ones"),
        (plan_of(timeout=120.0), "5 trials per VM, 120 s each: their whole timeout"),
        (plan_of(mean=1800.0), "5 trials per VM, 1,800 s each: the mean of the finished ones"),
        (plan_of(), "No trial has finished, and there is no timeout."),
    ],
)
def test_the_estimate_says_how_it_was_made(seen: PlanInputs, basis: str):
    found = estimate(seen)
    assert found is not None
    assert found["basis"] == basis


@pytest.mark.parametrize(
    ("seen", "status", "code"),
    [
        (plan_of(), "ok", None),
        (plan_of(**FALLBACK), "unknown", None),
        (plan_of(max_cost=0.9, **FALLBACK), "fault", "PriceUnknown"),
        (plan_of(cost_settings=["FLEET_BUDGET"], **FALLBACK), "fault", "PriceUnknown"),
        (plan_of(cost_limit=1.0), "ok", None),
        (plan_of(cost_limit=0.99), "fault", "CostLimitExceeded"),
        (plan_of(cost_limit=0.99, max_cost=0.9), "ok", None),
        (plan_of(mean=3600.0, max_cost=0.9), "warning", None),
        # Ten VMs cost 4.22 cents until they are deleted at the first look, after 30 s and 2 s more.
        (plan_of(max_cost=0.0422), "fault", "MaxCostTooLow"),
        (plan_of(max_cost=0.0423), "ok", None),
    ],
)
def test_limits_require_prices_and_are_checked(seen: PlanInputs, status: str, code: str | None):
    codes = [fault["code"] for fault in evaluate(seen)["faults"]]
    assert (one(seen, "cost")["status"], codes) == (status, [code] if code else [])


def test_without_a_price_there_is_no_amount():
    assert evaluate(plan_of(**FALLBACK))["cost"] is None
