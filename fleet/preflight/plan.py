"""The plan: checks an order within seconds, before any resource is created."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypedDict

from fleet.api.order_builder import understood
from fleet.api.responses.plan import Check, PlanCost
from fleet.api.responses.plan import Plan as PlanResponse
from fleet.azure.client import Azure
from fleet.model.activities import Resolved
from fleet.model.failure import failure
from fleet.model.placement import label
from fleet.model.records import Failure, Order, Trials
from fleet.preflight import (
    basics,
    costs,
    experiments,
    images,
    networks,
    permissions,
    processors,
    quotas,
    sizes,
)
from fleet.preflight.check_result import CheckResult
from fleet.preflight.plan_inputs import PlanInputs, Unavailable, collect
from fleet.store.executors import ACTIVITIES, QUERIES


class Plan(TypedDict):
    """The result of `make_plan`. The fleet continues if `faults` is empty."""

    resolved: Resolved
    trials: Trials | None
    cost: PlanCost | None
    checks: list[Check]
    faults: list[Failure]


CHECKS: dict[str, Callable[[PlanInputs], Iterable[CheckResult]]] = {
    "resource_group": basics.resource_group,
    "trials": basics.trials,
    "other_fleets": basics.other_fleets,
    "timeout": experiments.timeout,
    "powerlift": experiments.powerlift,
    "requirements_lock": experiments.requirements_lock,
    "measures": experiments.measures,
    "trial_order": processors.trial_order,
    "python": images.python,
    "custom_data": basics.custom_data,
    "runner_ids": basics.runner_ids,
    "batch_id": basics.batch_id,
    "schema": basics.schema,
    "permissions": permissions.check_permissions,
    "role_assignments": permissions.role_assignment_limit,
    "vm_role": permissions.vm_role,
    "client_principal": permissions.client_principal,
}
"""Checks by public name."""

LOCATION_CHECKS: dict[str, Callable[[PlanInputs], Iterable[CheckResult]]] = {
    "image": images.image,
    "sizes": sizes.offered,
    "burstable": sizes.burstable,
    "processors": processors.processors,
    "gpu": images.gpu,
    "quota": quotas.quota,
    "subnet": networks.subnet,
    "addresses": networks.addresses,
    "cost": costs.cost,
}
"""Checks that require a location."""

ESSENTIAL = frozenset({"resource_group", "trials"})
"""Checks whose inputs must be readable to start a fleet."""


async def make_plan(connection: Azure, uri: str, order: Order) -> Plan:
    """Run all checks of an order. Read-only.

    Raises AzureError or TimeoutError if an essential read failed with a transient error.
    """
    inputs = await collect(connection, uri, order, ACTIVITIES)
    for seen in (inputs.group, inputs.trials):
        if isinstance(seen, Unavailable) and seen.passing:
            raise seen.error
    return evaluate(inputs)


async def preview(connection: Azure, uri: str, order: Order) -> PlanResponse:
    """The response of `POST /plan`. Reports transient errors as `unknown` instead of raising them."""
    inputs = await collect(connection, uri, order, QUERIES)
    plan = evaluate(inputs)
    is_blocked = any(c["name"] in ESSENTIAL and c["status"] == "unknown" for c in plan["checks"])
    location, wanted = plan["resolved"]["location"], plan["resolved"]["n_instances"]
    return {
        "request": understood(order),
        "ok": not plan["faults"] and not is_blocked,
        "n_instances": wanted,
        "location": location,
        "placements": [label(placement) for placement in inputs.placements] if location else [],
        "trials": plan["trials"],
        "cost": plan["cost"],
        "checks": plan["checks"],
    }


def evaluate(inputs: PlanInputs) -> Plan:
    """Run all checks on collected inputs, without I/O."""
    location = inputs.order["location"]
    findings = [(name, one) for name, check in CHECKS.items() for one in check(inputs)]
    if location is None:
        skipped = CheckResult("unknown", "The location is unknown", "Set location in the request.")
        findings += [(name, skipped) for name in LOCATION_CHECKS]
    else:
        findings += [
            (name, one) for name, check in LOCATION_CHECKS.items() for one in check(inputs)
        ]
    return {
        "resolved": {
            "location": location,
            "n_instances": inputs.wanted,
            "sizes": inputs.sizes,
            "ssh_public_key": inputs.order["ssh_public_key"] or "",
            "client_principal_id": inputs.order["client_principal_id"],
            "client_principal_type": inputs.order["client_principal_type"],
            "prices": inputs.prices,
            "image": inputs.order["vm"]["image"],
        },
        "trials": None if isinstance(inputs.trials, Unavailable) else inputs.trials,
        "cost": costs.estimate(inputs) if location else None,
        "checks": [
            {"name": name, "status": one.status, "detail": one.detail, "advice": one.advice}
            for name, one in findings
        ],
        "faults": [
            failure(one.code, one.detail, "fail_fleet", one.advice)
            for _, one in findings
            if one.status == "fault"
        ],
    }
