"""The plan of a fleet before it is submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from powerlift_fleet.api.errors import (
    FleetAmbiguous,
    FleetCannotStart,
    FleetPurged,
    NotFound,
    Unauthorized,
)
from powerlift_fleet.api.responses import Check

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient

DEFAULT_RESOURCE_GROUP = "powerlift_rg"
"""AzureVMInstance's default."""
NO_EXPERIMENT = 2**31 - 1
"""An ID that no experiment has."""


def check_plan(client: FleetClient, request: Mapping[str, Any]) -> Sequence[Check]:
    """The checks of a request's plan. Raises FleetCannotStart with every fault.

    None for the batch ID of an existing fleet: its own fleet may have run the trials.
    """
    batch_id = request.get("batch_id")
    if batch_id is not None and _exists(client, f"fleet-{batch_id}"):
        return ()
    checks = client.plan(request).checks
    if faults := [one for one in checks if one.status == "fault"]:
        raise FleetCannotStart(faults)
    return checks


def _exists(client: FleetClient, fleet: str) -> bool:
    """Whether a fleet has this full ID."""
    try:
        return client.status(fleet).id == fleet
    except (NotFound, FleetAmbiguous, Unauthorized):  # a key may submit and not read
        return False
    except FleetPurged:
        return True


def check_early_plan(client: FleetClient, request: Mapping[str, Any], trials: int) -> None:
    """Plan a request for NO_EXPERIMENT as one for an experiment with so many trials.

    So a mistake does not use up the experiment's name. Raises FleetCannotStart with every fault,
    RequestRefused, and what `FleetClient.plan` raises.
    """
    # A fleet has at most one VM for each trial.
    vms = min(request["n_instances"], trials)
    least = {name: min(request[name], vms) for name in ("min_instances",) if name in request}
    planned = {**request, **least, "n_instances": vms}
    if planned != request:  # the app validates the numbers as they were given, too
        client.plan(request)
    plan = client.plan(planned)
    absent = f"Experiment {NO_EXPERIMENT} "
    faults = [one for one in plan.checks if one.status == "fault"]
    faults = [_naming_default(one, request) for one in faults if not one.detail.startswith(absent)]
    if faults:
        raise FleetCannotStart(faults)


def _naming_default(fault: Check, request: Mapping[str, Any]) -> Check:
    """A fault of a resource group that the user did not name says where its name is from."""
    group = (request.get("azure_json") or {}).get("resource_group")
    if fault.name != "resource_group" or group != DEFAULT_RESOURCE_GROUP:
        return fault
    hint = f"{group} is the default of the argument resource_group: pass yours, or create it."
    return replace(fault, advice=f"{fault.advice} {hint}".strip())
