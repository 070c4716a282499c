"""Responses of `/fleets` and `/fleets/{id}`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from fleet.api.responses.common import (
    BATCH,
    Batch,
    Count,
    FleetId,
    Links,
    Number,
    Time,
    Url,
)
from fleet.api.responses.request import Understood
from fleet.model.records import Reason, Trials

Phase = Literal[
    "plan",
    "network",
    "create",
    "boot",
    "provisioned",
    "run",
    "teardown",
    "done",
    "cancelled",
    "failed",
]
PHASES = (
    "`done`, `cancelled` and `failed` are final. `provisioned`: every VM is running or has failed."
)


Outcome = Literal["succeeded", "some_trials_failed", "all_trials_failed", "failed", "cancelled"]
OUTCOME = (
    "How it ended; null before. A fleet that is `done` has `succeeded`, unless trials of its experiment "
    "failed: all of them (`all_trials_failed`: none is complete) or some."
)


class SubmitResponse(TypedDict):
    """A submitted fleet."""

    id: FleetId
    """The fleet's ID."""
    number: Number
    """The fleet's short number: `fleet-` and this number is another ID of it."""
    batch_id: Annotated[Batch, Field(description=BATCH)]
    request: Understood
    """The request as the app understood it."""
    links: Links
    """URLs of the fleet's other resources."""
    trials: Count | None
    """Of a retry: the failed trials that this call has reset; 0 if the fleet already existed. Otherwise
    null."""


class CancelResponse(TypedDict):
    """A fleet that is being cancelled and torn down."""

    id: FleetId
    """The fleet's ID."""
    links: Links
    """URLs of the fleet's other resources."""


class MachineCounts(TypedDict):
    """A fleet's VMs by state, as in its list of VMs.

    `wanted` is the sum of `pending`, `creating`, `running`, `deleted` and the numbers in `missing`;
    `accepted` that of `creating`, `running`, `failed` and `deleted`.
    """

    wanted: Count
    """The target number of VMs: `n_instances`, or fewer if fewer trials are unfinished."""
    pending: Count
    """VMs that were not requested yet."""
    accepted: Count
    """VMs that Azure has accepted, in any later state."""
    role_assigned: Count
    """VMs whose role was assigned, so that they can delete themselves, in any later state."""
    creating: Count
    """VMs that Azure has accepted and that do not run yet."""
    running: Count
    """VMs that are running now."""
    failed: Count
    """VMs that Azure accepted, and that did not start, were lost, or could not run trials."""
    deleted: Count
    """VMs that ended without a failure and no longer exist."""
    refused: Count
    """VMs that Azure never accepted, and that were not retried."""


class PlacementCounts(TypedDict):
    """Results for one placement."""

    placement: Annotated[str, Field(examples=["eastus/1 Standard_D2s_v5 Spot"])]
    """A label: location, zone, VM size and priority."""
    accepted: Count
    """VMs that Azure accepted there."""
    failed: dict[str, Count]
    """Failures there, by code."""


class FailureGroup(TypedDict):
    """Failures with the same code."""

    code: Annotated[str, Field(examples=["FamilyQuotaExceeded"])]
    """Azure's error code, or the app's own where Azure uses one code for several errors."""
    count: Count
    """The number of occurrences."""
    message: str
    """Azure's latest error message."""
    action: str
    """What the app did about it."""
    advice: str
    """What the user can do about it."""


class FleetStatus(TypedDict):
    """The status that a fleet publishes while it runs and when it has ended."""

    # In `Field`, because pydantic does not find the docstrings of inherited members.
    version: Annotated[
        str | None,
        Field(
            description="The version of its orchestrators: the deployment's when the fleet started; "
            "null before it starts, and if that deployment had no version.",
            examples=["1.0"],
        ),
    ]
    phase: Annotated[Phase, Field(description=PHASES)]
    machines: Annotated[MachineCounts, Field(description="The fleet's VMs, by state.")]
    missing: Annotated[
        dict[str, Count],
        Field(description="VMs that could not be provisioned, by failure code."),
    ]
    placements: Annotated[
        list[PlacementCounts], Field(description="The placements that were tried.")
    ]
    trials: Annotated[
        Trials | None,
        Field(description="The experiment's trials, by state; null before the first count."),
    ]
    failures: Annotated[
        list[FailureGroup], Field(description="Failures by code, the most frequent first.")
    ]
    warnings: Annotated[list[str], Field(description="Warnings from the plan.")]
    reason: Annotated[Reason | None, Field(description="Why the fleet failed; null otherwise.")]
    ended_in: Annotated[
        Phase | None,
        Field(description="The phase in which the fleet failed or was cancelled; null otherwise."),
    ]
    provisioned_at: Annotated[
        Time | None, Field(description="When every VM was running or had failed; null before.")
    ]
    deadline: Annotated[
        Time | None,
        Field(
            description="When the fleet's VMs are deleted, even if trials are unfinished; null "
            "before the plan."
        ),
    ]


class FinalStatus(FleetStatus):
    """The status of a fleet that has ended."""

    created_at: Time | None
    """When its orchestration started, right after it was submitted."""


class FleetWithoutLinks(FleetStatus):
    """A fleet, as read from its durable instance."""

    id: Annotated[FleetId, Field(description="The fleet's ID.")]
    batch_id: Annotated[Batch, Field(description=BATCH)]
    experiment_id: Annotated[
        Count, Field(description="The Powerlift experiment that the fleet runs.")
    ]
    created_at: Annotated[Time, Field(description="When it was submitted.")]
    updated_at: Annotated[Time, Field(description="When its status was last updated.")]
    stale_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            description="Seconds since `updated_at` if a running fleet is overdue for an update: the "
            "host may be restarting; null otherwise.",
        ),
    ]
    outcome: Annotated[Outcome | None, Field(description=OUTCOME)]
    summary: Annotated[
        FinalStatus | None,
        Field(
            description="The final status; null before, and if the instance was terminated externally."
        ),
    ]


class Fleet(FleetWithoutLinks):
    """A fleet."""

    number: Number | None
    """The fleet's short number; null while the app's database is unavailable."""
    name: str | None
    """The name that its request gave it."""
    ended_at: Time | None
    """When it ended, as in the list; null before, and while the app's database is unavailable."""
    portal: Url | None
    """Its resource group in the Azure portal; null outside Azure's own clouds."""
    links: Links
    """URLs of the fleet's other resources."""


class FleetListEntry(TypedDict):
    """A fleet in a list, as it last reported."""

    id: FleetId
    """The fleet's ID."""
    number: Number
    """The fleet's short number."""
    name: str | None
    """The name that its request gave it."""
    batch_id: Annotated[Batch, Field(description=BATCH)]
    experiment_id: Count
    """The Powerlift experiment that the fleet runs."""
    experiment_name: str | None
    """The experiment's name; null before the plan."""
    submitted_by: str
    """A digest of the function key, a principal, or `queue`."""
    phase: Annotated[Phase, Field(description=PHASES)]
    outcome: Annotated[Outcome | None, Field(description=OUTCOME)]
    machines: MachineCounts | None
    """Its VMs, by state; null before the first."""
    trials: Trials | None
    """The experiment's trials, by state; null before the first count."""
    cost: float | None
    """In US dollars, once it has ended; null if a placement has no price."""
    created_at: Time
    """When it was submitted."""
    updated_at: Time
    """When it last reported."""
    ended_at: Time | None
    """When it ended; null before."""
    purged_at: Time | None
    """When its history, VM records and logs were deleted; null before."""
    links: Links
    """URLs of the fleet's other resources."""


class Fleets(TypedDict):
    """A page of fleets."""

    fleets: list[FleetListEntry]
    """Sorted by time of submission."""
    next: str | None
    """The `cursor` of the next page; null on the last page."""
