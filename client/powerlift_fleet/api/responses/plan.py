"""The plan of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from powerlift_fleet.api.json_reader import Response
from powerlift_fleet.api.responses.fleets import TrialCounts
from powerlift_fleet.api.responses.submissions import label_of


@dataclass(frozen=True, kw_only=True)
class Check(Response):
    """One check of a plan."""

    name: str
    status: str
    """ok, warning, fault or unknown."""
    detail: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class Understood(Response):
    """A request as the app understood it: normalised, with defaults, without account and secrets."""

    min_instances: int
    max_undead: int
    location: str | None = None
    """None: the resource group's."""
    vm_size: str
    image: str
    """publisher:offer:sku:version"""
    disk_type: str
    resource_uris: tuple[str, ...]
    timeout: float | None = None
    """Seconds per trial; None: no limit."""
    max_lifetime: float
    """Seconds from the start to the deadline."""
    max_cost: float | None = None
    """In US dollars; None: no limit."""
    delete_on_complete: bool
    trial_order: str = "fifo"
    trial_seed: int | None = None
    """What the order is drawn from."""
    cpu_models: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FleetsRequest(Response):
    """The request of a fleet, to submit another one like it."""

    id: str
    number: int | None = None
    """None: of an app that does not return it."""
    name: str | None = None
    request: Mapping[str, Any]
    """For `FleetClient.submit`: without `batch_id`, `name` and secrets."""
    secrets: tuple[str, ...]
    """JSON pointers of the secrets that it had, such as /uri. The app does not return them."""
    app_version: str | None = None
    """Of the app that answers."""

    @property
    def label(self) -> str:
        """The fleet's short ID and name, for people."""
        return label_of(self.id, self.number, self.name)


@dataclass(frozen=True, kw_only=True)
class PlanCost(Response):
    """What a fleet would cost: list prices of its VMs with their OS disks, in US dollars."""

    currency: str
    per_hour: float
    expected: float | None = None
    expected_seconds: float | None = None
    basis: str
    """How the time was estimated, or why not."""
    at_most: float
    """Until max_lifetime, or max_cost."""


@dataclass(frozen=True, kw_only=True)
class Plan(Response):
    """The result of a dry run."""

    request: Understood
    ok: bool
    """Whether a fleet could start now."""
    n_instances: int
    location: str | None = None
    placements: tuple[str, ...]
    """The preferred one first."""
    trials: TrialCounts | None = None
    cost: PlanCost | None = None
    """None if a price is unknown."""
    checks: tuple[Check, ...]
