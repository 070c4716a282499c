"""Sample orders, VMs and fleet states for tests of pure code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from fleet.azure.error_classifier import describe, explain
from fleet.model.records import Failure, Order, Placement, Vm, new_vm
from fleet.model.state import FleetState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = "Standard_D2s_v5"
NO_CAPACITY = explain("AllocationFailed", "Allocation failed.")
UNRECOGNISED = explain("NeverSeen", "?")
UNEXPECTED = describe(ValueError("an error of the app"))


def order(**changes: Any) -> Order:
    """A planned order; keywords override the defaults."""
    usual = {
        "batch_id": 7,
        "experiment_id": 1,
        "n_instances": 4,
        "min_instances": 1,
        "max_undead": 20,
        "delete_on_complete": True,
        "resource_uris": [],
        "client_principal_id": None,
        "subscription_id": "s",
        "resource_group": "g",
        "location": "eastus",
        "zones": [],
        "vm_size": SIZE,
        "priority": "Regular",
        "fallbacks": [],
        "sizes": {SIZE: {"family": "standardDSv5Family", "vcpus": 2}},
        "writes_per_second": 10.0,
        "deadline": "2026-01-02T00:00:00Z",
    }
    return cast(Order, {**usual, **changes})


def placement(zone: str | None = None, **changes: str) -> Placement:
    usual = {"location": "eastus", "zone": zone, "vm_size": SIZE, "priority": "Regular"}
    return cast(Placement, {**usual, **changes})


def machine(ordinal: int, state: str = "creating", **changes: Any) -> Vm:
    """A VM that Azure accepted at NOW, with its role."""
    new = new_vm(
        order(), {"ordinal": ordinal, "placement": placement(), "replaces": None, "attempt": 1}
    )
    known = {
        "created_at": NOW.isoformat(),
        "principal_id": "p",
        "assigned": [0],
        "roles_settled": True,
    }
    return cast(Vm, {**new, **known, "state": state, **changes})


def fleet_of(*states: str, **changes: Any) -> FleetState:
    """A fleet that has requested all of its VMs: one in each of the given states."""
    fleet = FleetState.read(dict(order(n_instances=max(1, len(states)), **changes)))
    fleet.demand.unrequested, fleet.demand.next_ordinal = 0, len(states)
    for ordinal, state in enumerate(states):
        fleet.accept(machine(ordinal, state))
    return fleet


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def new_fleet(count: int, **changes: Any) -> FleetState:
    """A fleet that has not requested any of its VMs yet."""
    return FleetState.read(dict(order(n_instances=count, **changes)))


def failing(fleet: FleetState, *reasons: Failure, zone: str | None = None) -> FleetState:
    """VMs are accepted and fail a second later, each replacing the one before."""
    for turn, reason in enumerate(reasons):
        (request,) = fleet.demand.request([placement(zone)])
        created_at = later(turn + 0.5).isoformat()
        fleet.accept({**machine(request["ordinal"]), **request, "created_at": created_at})
        fleet.mark_deleting([request["ordinal"]])
        fleet.fail_vm(request["ordinal"], reason, later(turn + 1))
    return fleet
