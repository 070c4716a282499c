"""Powerlift Fleet for benchmark code.

The modules of the names are imported when a name is first used.
"""

from __future__ import annotations

from importlib import import_module

from powerlift_fleet._version import __version__

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

    from powerlift_fleet.api.async_client import AsyncFleetClient
    from powerlift_fleet.api.client import FleetClient
    from powerlift_fleet.api.errors import (
        AllTrialsFailed,
        ApiError,
        AppUnavailable,
        BatchTaken,
        ConfigurationError,
        FleetAmbiguous,
        FleetCancelled,
        FleetCannotStart,
        FleetEnded,
        FleetError,
        FleetFailed,
        FleetPurged,
        FleetTimedOut,
        FleetTimeout,
        FleetUnreachable,
        NotFound,
        RequestRefused,
        RetryRefused,
        TooManyVms,
        Unauthorized,
    )
    from powerlift_fleet.api.responses import (
        Cancellation,
        FleetListEntry,
        FleetsRequest,
        FleetStatus,
        LogLine,
        Machine,
        PackageLock,
        Plan,
        PlanCost,
        Progress,
        QueuedSubmission,
        Submission,
        Trial,
    )
    from powerlift_fleet.benchmark.results import trial_results, trial_status
    from powerlift_fleet.compat import assign_contributor_permissions, run_azure_process
    from powerlift_fleet.executor import AzureVMFleet
    from powerlift_fleet.experiment import Run, run_experiment, runner_script
    from powerlift_fleet.storage_queue import submit_by_queue

__all__ = [
    "AllTrialsFailed",
    "ApiError",
    "AppUnavailable",
    "AsyncFleetClient",
    "AzureVMFleet",
    "BatchTaken",
    "Cancellation",
    "ConfigurationError",
    "FleetAmbiguous",
    "FleetCancelled",
    "FleetCannotStart",
    "FleetClient",
    "FleetEnded",
    "FleetError",
    "FleetFailed",
    "FleetListEntry",
    "FleetPurged",
    "FleetStatus",
    "FleetTimedOut",
    "FleetTimeout",
    "FleetUnreachable",
    "FleetsRequest",
    "LogLine",
    "Machine",
    "NotFound",
    "PackageLock",
    "Plan",
    "PlanCost",
    "Progress",
    "QueuedSubmission",
    "RequestRefused",
    "RetryRefused",
    "Run",
    "Submission",
    "TooManyVms",
    "Trial",
    "Unauthorized",
    "__version__",
    "assign_contributor_permissions",
    "run_azure_process",
    "run_experiment",
    "runner_script",
    "submit_by_queue",
    "trial_results",
    "trial_status",
]

_RESPONSES = (
    "Cancellation", "FleetListEntry", "FleetStatus", "FleetsRequest", "LogLine", "Machine",
    "PackageLock", "Plan", "PlanCost", "Progress", "QueuedSubmission", "Submission", "Trial",
)  # fmt: skip
_MODULES = {
    **dict.fromkeys(_RESPONSES, "api.responses"),
    "AsyncFleetClient": "api.async_client",
    "AzureVMFleet": "executor",
    "FleetClient": "api.client",
    "Run": "experiment",
    "assign_contributor_permissions": "compat",
    "run_azure_process": "compat",
    "run_experiment": "experiment",
    "runner_script": "experiment",
    "submit_by_queue": "storage_queue",
    "trial_results": "benchmark.results",
    "trial_status": "benchmark.results",
}
"""The modules of the names; all others are in `api.errors`."""


def __getattr__(name: str) -> Any:
    if name == "api":
        for part in ("errors", "responses"):
            import_module(f"{__name__}.api.{part}")
        return globals()[name]  # which the imports have set
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'api.errors')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
