"""What the API returns, as immutable objects. Each keeps the JSON that it was read from as `raw`.

Times are datetimes in UTC, durations are seconds. Fields that a newer app adds are in `raw` only.
"""

from powerlift_fleet.api.responses.fleets import (
    TERMINAL_PHASES,
    Cancellation,
    Failure,
    FailureGroup,
    FleetList,
    FleetListEntry,
    FleetStatus,
    Links,
    MachineCounts,
    Placement,
    PlacementCounts,
    QueuedSubmission,
    Submission,
    Summary,
    TrialCounts,
)
from powerlift_fleet.api.responses.machines import (
    Machine,
    MachineFailure,
    MachineList,
    MachineTrials,
)
from powerlift_fleet.api.responses.plan import Check, Plan, PlanCost, Understood
from powerlift_fleet.api.responses.progress import (
    Cost,
    CpuModel,
    EarlierTrials,
    Experiment,
    PlacementHours,
    Progress,
    TrialError,
    TrialSeries,
    VmHours,
)

__all__ = [
    "TERMINAL_PHASES",
    "Cancellation",
    "Check",
    "Cost",
    "CpuModel",
    "EarlierTrials",
    "Experiment",
    "Failure",
    "FailureGroup",
    "FleetList",
    "FleetListEntry",
    "FleetStatus",
    "Links",
    "Machine",
    "MachineCounts",
    "MachineFailure",
    "MachineList",
    "MachineTrials",
    "Placement",
    "PlacementCounts",
    "PlacementHours",
    "Plan",
    "PlanCost",
    "Progress",
    "QueuedSubmission",
    "Submission",
    "Summary",
    "TrialCounts",
    "TrialError",
    "TrialSeries",
    "Understood",
    "VmHours",
]
