"""The plan: what a fleet would meet, known in seconds, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypedDict

from fleet.api import responses
from fleet.api.responses import Check
from fleet.azure.client import Azure
from fleet.model.failure import failure
from fleet.model.placement import label
from fleet.model.records import Failure, Order, Size, Trials
from fleet.preflight import basics, networks, quotas, rights, sizes
from fleet.preflight.finding import Finding
from fleet.preflight.inventory import Missing, Survey, take


class Resolved(TypedDict):
    """What the request left open, and how many VMs are worth making."""

    location: str | None
    """None where neither the request nor the resource group says it: then there is a fault."""
    n_instances: int
    sizes: dict[str, Size]


class Plan(TypedDict):
    """What `make_plan` finds. The fleet can go on when `faults` is empty."""

    resolved: Resolved
    trials: Trials | None
    checks: list[Check]
    faults: list[Failure]


ANYWHERE: dict[str, Callable[[Survey], Iterable[Finding]]] = {
    "resource_group": basics.resource_group,
    "trials": basics.trials,
    "custom_data": basics.custom_data,
    "runner_ids": basics.runner_ids,
    "schema": basics.schema,
    "rights": rights.rights,
    "role_assignments": rights.role_assignment_room,
}
"""Checks, by the name that users see."""

LOCATED: dict[str, Callable[[Survey], Iterable[Finding]]] = {
    "sizes": sizes.offered,
    "burstable": sizes.burstable,
    "quota": quotas.quota,
    "subnet": networks.subnet,
    "addresses": networks.addresses,
}
"""Checks that need to know where the VMs will be."""

ESSENTIAL = frozenset({"resource_group", "trials"})
"""Checks without whose answer no fleet can be started."""


async def make_plan(connection: Azure, uri: str, order: Order) -> Plan:
    """All checks of an order. Reads only.

    Raises AzureError or TimeoutError where an essential look failed in a way that may pass.
    """
    survey = await take(connection, uri, order)
    for seen in (survey.group, survey.trials):
        if isinstance(seen, Missing) and seen.passing:
            raise seen.error
    return judge(survey)


async def preview(connection: Azure, uri: str, order: Order) -> responses.Plan:
    """The plan for a reader: `{ok, n_instances, location, places, trials, checks}`.

    `ok`: a fleet submitted now would go on. What may pass is shown as unknown, not raised.
    """
    survey = await take(connection, uri, order)
    plan = judge(survey)
    blind = any(c["name"] in ESSENTIAL and c["status"] == "unknown" for c in plan["checks"])
    location, wanted = plan["resolved"]["location"], plan["resolved"]["n_instances"]
    return {
        "ok": not plan["faults"] and not blind,
        "n_instances": wanted,
        "location": location,
        "placements": [label(placement) for placement in survey.placements] if location else [],
        "trials": plan["trials"],
        "checks": plan["checks"],
    }


def judge(survey: Survey) -> Plan:
    """What a survey says about its order. Pure."""
    location = survey.order["location"]
    findings = [(name, one) for name, check in ANYWHERE.items() for one in check(survey)]
    if location is None:
        lost = Finding("unknown", "The location is not known", "Name it in the request.")
        findings += [(name, lost) for name in LOCATED]
    else:
        findings += [(name, one) for name, check in LOCATED.items() for one in check(survey)]
    return {
        "resolved": {
            "location": location,
            "n_instances": survey.wanted,
            "sizes": survey.sizes,
        },
        "trials": None if isinstance(survey.trials, Missing) else survey.trials,
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
