"""What the API returns, as immutable objects. Each keeps the JSON that it was read from as `raw`.

Times are datetimes in UTC, durations are seconds. Fields that a newer app adds are in `raw` only.
"""

from powerlift_fleet.api.responses.fleets import (
    TERMINAL_PHASES,
    Bar,
    Failure,
    FailureGroup,
    FleetList,
    FleetListEntry,
    FleetStatus,
    MachineCounts,
    Placement,
    PlacementCounts,
    Summary,
    TrialCounts,
)
from powerlift_fleet.api.responses.machines import (
    LogLine,
    Machine,
    MachineFailure,
    MachineList,
    MachineSystem,
    MachineTrials,
    PackageLock,
    PackageLockList,
)
from powerlift_fleet.api.responses.plan import Check, FleetsRequest, Plan, PlanCost, Understood
from powerlift_fleet.api.responses.progress import (
    Cost,
    EarlierTrials,
    Experiment,
    PlacementHours,
    Progress,
    RightSizing,
    SizeSuggestion,
    TrialError,
    TrialSeries,
    VmHours,
)
from powerlift_fleet.api.responses.submissions import (
    Cancellation,
    Links,
    QueuedSubmission,
    Submission,
)
from powerlift_fleet.api.responses.trials import Trial, TrialPage

__all__ = [
    "TERMINAL_PHASES",
    "Bar",
    "Cancellation",
    "Check",
    "Cost",
    "EarlierTrials",
    "Experiment",
    "Failure",
    "FailureGroup",
    "FleetList",
    "FleetListEntry",
    "FleetStatus",
    "FleetsRequest",
    "Links",
    "LogLine",
    "Machine",
    "MachineCounts",
    "MachineFailure",
    "MachineList",
    "MachineSystem",
    "MachineTrials",
    "PackageLock",
    "PackageLockList",
    "Placement",
    "PlacementCounts",
    "PlacementHours",
    "Plan",
    "PlanCost",
    "Progress",
    "QueuedSubmission",
    "RightSizing",
    "SizeSuggestion",
    "Submission",
    "Summary",
    "Trial",
    "TrialCounts",
    "TrialError",
    "TrialPage",
    "TrialSeries",
    "Understood",
    "VmHours",
]
