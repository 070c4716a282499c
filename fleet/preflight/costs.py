"""What a fleet is expected to cost, and the check of its limits."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fleet.api.responses.plan import PlanCost
from fleet.model.costs import HOUR, dollars, least_cost, money, price_key
from fleet.model.placement import label
from fleet.preflight.check_result import CheckResult
from fleet.preflight.plan_inputs import PlanInputs, Unavailable

START_SECONDS = 300.0
"""From the request of a VM to its first trial: boot and installation."""
_NO_PRICE = "Choose another vm_size or location, or ask the administrator to add it to FLEET_PRICES"
_CHEAPER = "Use fewer or cheaper VMs, a shorter max_lifetime, or a max_cost within the limit."


def estimate(inputs: PlanInputs) -> PlanCost | None:
    """None if the price of any placement is unknown."""
    prices = [inputs.prices.get(price_key(placement)) for placement in inputs.placements]
    known = [price["per_hour"] for price in prices if price is not None]
    if not known or len(known) < len(prices):
        return None
    per_hour, dearest = inputs.wanted * known[0], inputs.wanted * max(known)
    at_most = dearest * inputs.order["max_lifetime"] / HOUR
    limit = inputs.order.get("max_cost")
    if limit is not None:
        at_most = min(at_most, limit)
    seconds, basis = _expected_seconds(inputs)
    # Not limited by max_cost: how much is missing shows how far to raise it.
    expected = None if seconds is None else per_hour * seconds / HOUR
    return {
        "currency": "USD",
        "per_hour": dollars(per_hour),
        "expected": None if expected is None else dollars(expected),
        "expected_seconds": seconds,
        "basis": basis,
        "at_most": dollars(at_most),
    }


def _expected_seconds(inputs: PlanInputs) -> tuple[float | None, str]:
    """The time from the first VM to the last trial, and how it was estimated."""
    trials, timeout = inputs.trials, inputs.order["timeout"]
    mean = None if isinstance(inputs.mean_seconds, Unavailable) else inputs.mean_seconds
    if trials is None or isinstance(trials, Unavailable):
        return None, "The trials are unknown."
    if mean is not None:
        each, why = mean, "the mean of the finished ones"
    elif timeout is not None:
        each, why = timeout, "their whole timeout"
    else:
        return None, "No trial has finished, and there is no timeout."
    rounds = math.ceil((trials["ready"] + trials["running"]) / inputs.wanted)
    seconds = min(START_SECONDS + rounds * each, inputs.order["max_lifetime"])
    counted = f"{rounds:,} trial{'' if rounds == 1 else 's'}"
    shown = f"{each:,.0f}" if each >= 100 else f"{each:.3g}"
    return round(seconds, 3), f"{counted} per VM, {shown} s each: {why}"


def cost(inputs: PlanInputs) -> Iterator[CheckResult]:
    """A limit requires the price of each placement; without one, an unknown price is only reported."""
    limits = [*inputs.cost_settings]
    if inputs.order.get("max_cost") is not None:
        limits.insert(0, "max_cost")
    missing = {label(one): None for one in inputs.placements if price_key(one) not in inputs.prices}
    if missing and limits:
        text = (
            f"No price is known for {', '.join(missing)}, and {' and '.join(limits)} requires one."
        )
        yield CheckResult("fault", text, f"{_NO_PRICE}.", "PriceUnknown")
    elif missing:
        text = f"No price is known for {', '.join(missing)}: the cost is not shown"
        yield CheckResult("unknown", text, f"{_NO_PRICE}.")
    else:
        yield _within_limits(inputs)


def _within_limits(inputs: PlanInputs) -> CheckResult:
    found = estimate(inputs)
    if found is None:
        return CheckResult("ok", "The fleet has no placement")
    limit, dearest = inputs.order.get("max_cost"), inputs.wanted * _highest(inputs)
    if limit is not None and limit <= least_cost(
        dearest, inputs.order["run_poll_seconds"], inputs.wanted
    ):
        plural = "" if inputs.wanted == 1 else "s"
        vms = f"{inputs.wanted} VM{plural} at {money(dearest)} per hour"
        text = f"max_cost of {money(limit)} does not pay for {vms}"
        advice = "Use fewer or cheaper VMs, or a higher max_cost."
        return CheckResult("fault", text, advice, "MaxCostTooLow")
    if inputs.cost_limit is not None and found["at_most"] > inputs.cost_limit:
        text = (
            f"The fleet may cost {money(found['at_most'])}; the deployment allows "
            f"{money(inputs.cost_limit)} (FLEET_MAX_COST)"
        )
        return CheckResult("fault", text, _CHEAPER, "CostLimitExceeded")
    expected = found["expected"]
    at_most = f"{money(found['per_hour'])} per hour, at most {money(found['at_most'])}"
    if expected is None:
        return CheckResult("ok", at_most)
    text = f"About {money(expected)} are expected ({found['basis']}): {at_most}"
    if limit is not None and expected >= limit:
        return CheckResult("warning", text, "The fleet may end with trials left; raise max_cost.")
    return CheckResult("ok", text)


def _highest(inputs: PlanInputs) -> float:
    return max(inputs.prices[price_key(one)]["per_hour"] for one in inputs.placements)
