"""What the API answers, as types. mypy holds the code to them, and the OpenAPI document is made of them.

The text under a member is its description there. Times are ISO 8601, in UTC; durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from fleet.model.records import Failure, Placement, Trials

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
    "`done`, `cancelled` and `failed` are its ends; in `provisioned` every VM runs or has failed."
)
BATCH = "The idempotency key, which is in the names of all of the fleet's resources."
Status = Literal["ok", "warning", "fault", "unknown"]
State = Literal["refused", "creating", "running", "failed", "deleted"]
Count = Annotated[int, Field(ge=0)]
FleetId = Annotated[str, Field(pattern=r"^fleet-(0|[1-9][0-9]{0,18})$", examples=["fleet-7"])]
Batch = Annotated[int, Field(ge=0, examples=[7])]
Ordinal = Annotated[int, Field(ge=0, lt=10_000, examples=[3])]
Time = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-03-01T12:00:00Z"])
]
Url = Annotated[str, Field(json_schema_extra={"format": "uri"})]


class Links(TypedDict):
    """Where else to go from a fleet: absolute URLs, without the key."""

    self: Url
    """The fleet: GET."""
    machines: Url
    """Its VMs: GET."""
    progress: Url
    """Its trials over time, VM hours and cost: GET."""
    view: Url
    """The page that a person watches: GET, text/html."""
    cancel: Url
    """Cancels the fleet and tears it down: DELETE."""


class Submitted(TypedDict):
    """A fleet that was asked for."""

    id: FleetId
    """The fleet's id."""
    batch_id: Annotated[Batch, Field(description=BATCH)]
    links: Links
    """Where to go from here."""


class Cancelled(TypedDict):
    """A fleet that is being cancelled and torn down."""

    id: FleetId
    """The fleet's id."""
    links: Links
    """Where to go from here."""


class MachineCounts(TypedDict):
    """How many VMs of a fleet are where. One that ran and is gone counts under `gone` alone."""

    wanted: Count
    """VMs that the fleet is to have: `n_instances`, or fewer where fewer trials are left."""
    accepted: Count
    """VMs that Azure has accepted, whatever became of them."""
    role_assigned: Count
    """VMs that got their role, and so could delete themselves, whatever became of them."""
    running: Count
    """VMs that run now."""
    failed: Count
    """VMs that Azure accepted and could not bring up, or that were given up."""
    deleted: Count
    """VMs that have ended and are no longer there."""


class PlacementCounts(TypedDict):
    """How it went in one place."""

    placement: Annotated[str, Field(examples=["eastus/1 Standard_D2s_v5 Spot"])]
    """Location, zone, VM size and priority in a few words."""
    accepted: Count
    """VMs that Azure accepted here."""
    failed: dict[str, Count]
    """Failures here, by code."""


class FailureGroup(TypedDict):
    """Failures of one code."""

    code: Annotated[str, Field(examples=["FamilyQuotaExceeded"])]
    """Azure's code, or ours where Azure has one code for several things."""
    count: Count
    """How often it was met."""
    message: str
    """Azure's words, the latest."""
    action: str
    """What the app did about it, in words."""
    advice: str
    """What the user can do about it."""


class Told(TypedDict):
    """What a fleet tells of itself while it runs, and when it has ended."""

    # Here in `Field`: pydantic does not find the texts under members that are inherited.
    version: Annotated[
        str | None,
        Field(
            description="Of the orchestrators that it runs: the deployment's when it began; null until"
            " it has begun, and where the deployment had none.",
            examples=["1.0"],
        ),
    ]
    phase: Annotated[Phase, Field(description=PHASES)]
    machines: Annotated[MachineCounts, Field(description="Its VMs, counted.")]
    missing: Annotated[
        dict[str, Count],
        Field(
            description="VMs that were wanted and are not there, by the code of what kept them away."
        ),
    ]
    placements: Annotated[list[PlacementCounts], Field(description="Where VMs were asked for.")]
    trials: Annotated[
        Trials | None,
        Field(description="The experiment's trials, counted; null until they were first."),
    ]
    failures: Annotated[
        list[FailureGroup], Field(description="What went wrong, the most frequent first.")
    ]
    warnings: Annotated[
        list[str], Field(description="What the plan found that is no reason to stop.")
    ]
    reason: Annotated[Failure | None, Field(description="Why the fleet failed; null otherwise.")]
    provisioned_at: Annotated[
        Time | None, Field(description="When every VM ran or had failed; null before.")
    ]
    deadline: Annotated[
        Time | None,
        Field(
            description="When the fleet's VMs are deleted, done or not; null until it is planned."
        ),
    ]


class Summary(Told):
    """A fleet as it ended."""

    created_at: Time | None
    """When it was asked for."""


class Shown(Told):
    """A fleet as its durable instance shows it."""

    id: Annotated[FleetId, Field(description="The fleet's id.")]
    batch_id: Annotated[Batch, Field(description=BATCH)]
    experiment_id: Annotated[
        Count, Field(description="Powerlift's experiment, whose trials the fleet runs.")
    ]
    created_at: Annotated[Time, Field(description="When it was asked for.")]
    updated_at: Annotated[Time, Field(description="When the above was last written.")]
    no_news_seconds: Annotated[
        int | None,
        Field(
            ge=0,
            description="Seconds since then, where they are more than a running fleet lets pass: the"
            " host may be restarting; null otherwise.",
        ),
    ]
    summary: Annotated[
        Summary | None,
        Field(description="How it ended; null before, and where it was ended from outside."),
    ]


class Fleet(Shown):
    """A fleet as it is."""

    links: Links
    """Where to go from here."""


class Fleets(TypedDict):
    """Fleets."""

    fleets: list[Fleet]
    """The newest first."""


class Ended(TypedDict):
    """Why a VM failed or was refused."""

    code: str
    """Azure's code, or ours where Azure has one code for several things."""
    message: str
    """Azure's words."""
    next: str
    """What the app did then."""


class MachineTrials(TypedDict):
    """Trials that a VM took, by how they stand."""

    running: Count
    """Begun, and not ended."""
    complete: Count
    """Ended well."""
    error: Count
    """Ended with an error."""


class Machine(TypedDict):
    """One VM, at most one look of the fleet's old."""

    ordinal: Ordinal
    """Its number within the fleet. A VM that stands in for another has a new one."""
    name: Annotated[str, Field(examples=["powerlift-vm-7-0003"])]
    """Its name in Azure."""
    runner_id: Annotated[int, Field(ge=0, examples=[70003])]
    """Its id in Powerlift's trial table."""
    placement: Placement
    """Where it is, or was to be."""
    state: State
    """`refused`: Azure never accepted it. `gone`: it ended, by itself or by Azure's hand."""
    attempt: Annotated[int, Field(ge=1)]
    """1 for the first VM of a line of replacements."""
    replaces: Ordinal | None
    """The ordinal of the VM in whose stead it was asked for; null for a first one."""
    created_at: Time | None
    """When Azure accepted it; null for `refused`."""
    role_assigned_at: Time | None
    """When its roles stood, so that it can delete itself; null before."""
    running_at: Time | None
    """When it was first seen running; null before."""
    working_at: Time | None
    """When its script began; null before. The VM itself writes this to the database."""
    ended_at: Time | None
    """When its script ended or its failure became known; null before."""
    deleted_at: Time | None
    """When it was no longer there; null before."""
    ended: Ended | None
    """Why it failed or was refused; null otherwise."""
    outcome: str | None
    """How its script ended, in its own words; null before."""
    trials: MachineTrials
    """What became of the trials that it took."""


class Machines(TypedDict):
    """The VMs of a fleet, those that failed included."""

    id: FleetId
    """The fleet's id."""
    machines: list[Machine]
    """In order of ordinal."""


class Experiment(TypedDict):
    """A Powerlift experiment."""

    id: Count
    """Its id in the database."""
    name: str | None
    """Its name; null where the database could not be asked."""


class Series(TypedDict):
    """Trials that ended since the fleet began: cumulative counts at `start + step * (i + 1)`."""

    start: Time
    """When the first step begins."""
    step: Annotated[float, Field(ge=0)]
    """Seconds between two points; 0 where there are none."""
    complete: Annotated[list[Count], Field(max_length=240)]
    """Trials that ended well until then."""
    error: Annotated[list[Count], Field(max_length=240)]
    """Trials that ended with an error until then."""


class Before(TypedDict):
    """Trials that had ended before the fleet began: they are in no point of the series."""

    complete: Count
    """Ended well."""
    error: Count
    """Ended with an error."""


class PlacementHours(TypedDict):
    """VM hours in one place."""

    placement: Placement
    """Where."""
    vm_hours: Annotated[float, Field(ge=0)]
    """Hours that VMs have been there, all together."""
    price_per_hour: float | None
    """Of one VM, in the currency of `cost`; null where no price is known."""


class VmHours(TypedDict):
    """How long the fleet's VMs have been there."""

    so_far: Annotated[float, Field(ge=0)]
    """Hours of all VMs together."""
    by_placement: list[PlacementHours]
    """The same by place."""


class Cost(TypedDict):
    """What the fleet's VMs cost: list prices, without disks, network and discounts."""

    currency: Annotated[str, Field(examples=["USD"])]
    """ISO 4217."""
    so_far: float
    """Until now."""
    per_hour: float
    """Of the VMs that are there now, an hour."""
    expected: float | None
    """Until the expected end; null where that is not known."""
    per_trial: float | None
    """So far, for each of the experiment's trials that ended since the fleet began, whichever fleet ran
    it; null before the first."""


class TrialError(TypedDict):
    """One way in which trials have failed."""

    message: Annotated[str, Field(examples=["ValueError: Input X contains NaN."])]
    """The last line of the error of one of them: the end of it, 300 characters at most. Those of others
    may have other numbers in it."""
    count: Count
    """How many trials."""


class Progress(TypedDict):
    """A fleet's trials over time, its VM hours, and what they cost."""

    id: FleetId
    """The fleet's id."""
    as_of: Time
    """When all of this was so."""
    experiment: Experiment
    """Whose trials they are."""
    trials: Trials | None
    """The experiment's trials now; null where the database could not be asked."""
    series: Series
    """Empty lists where the database could not be asked."""
    before: Before
    """What is in no point of the series."""
    errors: list[TrialError]
    """What trials failed with since the fleet began: the eight most frequent."""
    trials_per_hour: float | None
    """The experiment's trials that end in an hour, by the recent past; null where too few have ended."""
    expected_end: Time | None
    """When the last trial ends if it goes on like this; null where that cannot be told."""
    vm_hours: VmHours
    """What Azure bills, within a look of the fleet."""
    cost: Cost | None
    """Null where the price of a place is not known: a part would pass for the whole."""
    problem: str | None
    """Why the database could not be asked; null otherwise."""


class Check(TypedDict):
    """One thing that a plan has looked at."""

    name: Annotated[str, Field(examples=["quota"])]
    """The check."""
    status: Status
    """`warning`: a fleet goes on, smaller or slower. `fault`: it could not work. `unknown`: it could not
    be seen, which alone fails no fleet."""
    detail: str
    """How things are."""
    advice: str
    """What to do about it; empty where nothing is to be done."""


class Plan(TypedDict):
    """What a fleet of the request would meet."""

    ok: bool
    """Whether a fleet submitted now would go on."""
    n_instances: Count
    """VMs that it would ask for: no more than trials are left."""
    location: str | None
    """The Azure region; null where neither the request nor the resource group says it."""
    placements: Annotated[list[str], Field(examples=[["eastus/1 Standard_D2s_v5"]])]
    """Where VMs could be, the most wanted place first, each in a few words."""
    trials: Trials | None
    """The experiment's trials; null where the database could not be asked."""
    checks: list[Check]
    """Everything that was looked at."""


class Health(TypedDict):
    """The app can take a request."""

    status: Literal["ok"]
    """Always `ok`: an app that cannot take requests answers 503."""


class RequestFault(TypedDict):
    """One thing wrong with a request."""

    pointer: Annotated[str, Field(examples=["/azure_json/client_secret"])]
    """Where in the body, a JSON pointer (RFC 6901); empty for the body as a whole."""
    detail: str
    """What is wrong there, without the value."""


class Problem(TypedDict):
    """Problem details (RFC 9457)."""

    type: Annotated[str, Field(examples=["about:blank"])]
    """Always `about:blank`: title and status say what kind it is."""
    title: Annotated[str, Field(examples=["The request cannot be a fleet"])]
    """What kind of problem it is."""
    status: Annotated[int, Field(ge=400, le=599)]
    """The HTTP status code."""
    detail: str
    """What happened here, and what to do about it."""
    errors: NotRequired[list[RequestFault]]
    """With 400: every fault of the request."""
