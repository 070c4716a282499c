"""Checks that trials run in an order, and on processors, that let their times be compared."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fleet.model.costs import HOUR, money, price_key
from fleet.model.demand import RETRY_MARGIN
from fleet.preflight.check_result import CheckResult, unreadable
from fleet.preflight.plan_inputs import PlanInputs, Unavailable

REPLACED_SECONDS = 300.0
"""Lifetime of a VM that is replaced for its processor: boot, system packages, deletion."""
_OUR_RUNNER = "Use the client's runner: run_experiment, or powerlift_fleet.runner_script()."

_ICE_LAKE, _CASCADE_LAKE = "Xeon Platinum 8370C", "Xeon Platinum 8272CL"
_EMERALD_RAPIDS, _SAPPHIRE_RAPIDS = "Xeon Platinum 8573C", "Xeon Platinum 8473C"
_OLDER = ("Xeon Platinum 8171M", "Xeon E5-2673 v4", "Xeon E5-2673 v3")
_MILAN, _GENOA = "EPYC 7763", "EPYC 9004 series"
SERIES = {
    r"ds?\d+(-\d+)?_v2|d\d+s?_v3": (_EMERALD_RAPIDS, _ICE_LAKE, _CASCADE_LAKE, *_OLDER),
    r"d\d+s?_v4|e\d+(-\d+)?s_v4": (_EMERALD_RAPIDS, _SAPPHIRE_RAPIDS, _ICE_LAKE, _CASCADE_LAKE),
    r"d\d+ds_v4": (_EMERALD_RAPIDS, _ICE_LAKE, _CASCADE_LAKE),
    r"d\d+l?s?_v5|e\d+(-\d+)?s_v5": (_EMERALD_RAPIDS, _SAPPHIRE_RAPIDS, _ICE_LAKE),
    r"d\d+ds_v5": (_EMERALD_RAPIDS, _ICE_LAKE),
    r"d\d+as_v4": ("EPYC 7452", _MILAN),
    r"d\d+ad?s_v5|e\d+(-\d+)?as_v5": (_MILAN, _GENOA),
    r"f\d+s_v2": (_EMERALD_RAPIDS, _ICE_LAKE, _CASCADE_LAKE, "Xeon Platinum 8168"),
    r"b\d+[lm]?s": (_ICE_LAKE, _CASCADE_LAKE, *_OLDER),
    r"b\d+l?s_v2": (_SAPPHIRE_RAPIDS, _ICE_LAKE),
}
"""By pattern of a size: the processors that Azure documents for its series, where there are several.
Source: https://learn.microsoft.com/azure/virtual-machines/sizes/overview, as of March 2026."""


def trial_order(inputs: PlanInputs) -> Iterator[CheckResult]:
    """Any order but Powerlift's requires a script that takes trials as the VM tells it to."""
    wanted, experiment = inputs.order.get("trial_order", "fifo"), inputs.experiment
    if wanted == "fifo":
        yield CheckResult("ok", "VMs take trials in the order of their IDs")
    elif isinstance(experiment, Unavailable):
        yield unreadable("The experiment's script", experiment)
    elif experiment is not None and not experiment["keeps_order"]:
        text = (
            "The experiment's script takes trials by itself, in the order of their IDs: trial_order "
            f"{wanted} has no effect"
        )
        yield CheckResult("warning", text, _OUR_RUNNER)
    else:
        seed = inputs.order.get("trial_seed")
        yield CheckResult("ok", f"VMs take trials {wanted}, drawn from the seed {seed}")


def processors(inputs: PlanInputs) -> Iterator[CheckResult]:
    """A VM of another processor is replaced, if the request names some; else results may mix several."""
    sizes = dict.fromkeys(placement["vm_size"] for placement in inputs.placements)
    several = {size: found for size in sizes if (found := documented(size))}
    allowed = inputs.order.get("cpu_models")
    if allowed:
        yield CheckResult(
            "warning", _replacements(inputs, allowed), "Check cpu_models with one VM."
        )
    elif len(sizes) > 1 or several:
        kinds = "; ".join(f"{size}: {', '.join(found)}" for size, found in several.items())
        text = f"VMs may have different processors: {kinds or ', '.join(sizes)}"
        paired = inputs.order.get("trial_order") == "paired"
        advice = "Set cpu_models." if paired else "Set cpu_models, or trial_order to paired."
        yield CheckResult("warning", text, advice)
    else:
        yield CheckResult("ok", f"{', '.join(sizes)} is not known to have different processors")


def documented(vm_size: str) -> tuple[str, ...]:
    """The processors that a size may have; empty if it has one, or if they are unknown."""
    name = vm_size.lower().removeprefix("standard_")
    return next((found for series, found in SERIES.items() if re.fullmatch(series, name)), ())


def _replacements(inputs: PlanInputs, allowed: list[str]) -> str:
    """How many VMs may be replaced, and what that costs."""
    most = inputs.wanted + RETRY_MARGIN
    prices = [inputs.prices.get(price_key(placement)) for placement in inputs.placements]
    dearest = max((price["per_hour"] for price in prices if price), default=None)
    cost = "" if dearest is None else f", for about {money(dearest * REPLACED_SECONDS / HOUR)} each"
    return (
        f"A VM whose processor is not {' or '.join(allowed)} is replaced before it takes a trial: up to "
        f"{most} VMs{cost}"
    )
