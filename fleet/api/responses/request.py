"""A request as the app understood it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import Count, FleetId, Number


class Understood(TypedDict):
    """What was understood of a request: normalised, with defaults, without its account and secrets."""

    min_instances: Count
    """VMs without which the fleet fails."""
    max_undead: Count
    """Maximum number of VMs that exist without the role to delete themselves."""
    location: str | None
    """The Azure region; null if it is the resource group's."""
    vm_size: str
    """The VM size."""
    image: Annotated[str, Field(examples=["canonical:ubuntu-24_04-lts:server:latest"])]
    """The image's URN, or `image_id`."""
    disk_type: str
    """Storage type of the OS disk."""
    resource_uris: list[str]
    """Scopes at which every VM gets the Contributor role."""
    timeout: float | None
    """Seconds per trial; null: no limit."""
    max_lifetime: float
    """Seconds from the start to the deadline."""
    max_cost: float | None
    """Maximum cost in US dollars; null: no limit."""
    delete_on_complete: bool
    """Whether VMs delete themselves after the last trial."""
    trial_order: str
    """`fifo`, `shuffled` or `paired`."""
    trial_seed: int | None
    """What the order is drawn from; null for `fifo`."""
    cpu_models: list[str]
    """Processors that VMs may have; empty: any."""


class FleetsRequest(TypedDict):
    """The request of a fleet, from which another fleet can be submitted."""

    id: FleetId
    """The fleet's ID."""
    number: Number
    """The fleet's short number: `fleet-` and this number is another ID of it."""
    name: str | None
    """The fleet's name."""
    request: dict[str, Any]
    """The fields that the request had (see FleetRequest), without `batch_id`, `name` and secrets."""
    secrets: list[Annotated[str, Field(examples=["/uri"])]]
    """JSON pointers of the secrets that the request had: `/uri`, `/azure_json/client_secret`,
    `/notify_url`. The app does not return them."""
    app_version: Annotated[str, Field(examples=["0.1.0"])]
    """The version of the app that answers."""
