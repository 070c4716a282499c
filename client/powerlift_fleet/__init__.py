"""Powerlift Fleet for benchmark code.

Importing this imports nothing but the standard library; each name brings what it needs when it is
first used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powerlift_fleet._version import __version__
from powerlift_fleet.api.errors import (
    ApiError,
    AppUnavailable,
    BatchTaken,
    ConfigurationError,
    FleetCancelled,
    FleetEnded,
    FleetError,
    FleetFailed,
    FleetTimeout,
    FleetUnreachable,
    NotFound,
    RequestRefused,
    Unauthorized,
)

if TYPE_CHECKING:
    from powerlift_fleet.api.client import AsyncFleetClient, FleetClient
    from powerlift_fleet.compat import run_azure_process
    from powerlift_fleet.executor import AzureVMFleet
    from powerlift_fleet.experiment import Run, run_experiment
    from powerlift_fleet.storage_queue import submit_by_queue

__all__ = [
    "ApiError",
    "AppUnavailable",
    "AsyncFleetClient",
    "AzureVMFleet",
    "BatchTaken",
    "ConfigurationError",
    "FleetCancelled",
    "FleetClient",
    "FleetEnded",
    "FleetError",
    "FleetFailed",
    "FleetTimeout",
    "FleetUnreachable",
    "NotFound",
    "RequestRefused",
    "Run",
    "Unauthorized",
    "__version__",
    "run_azure_process",
    "run_experiment",
    "source",
    "submit_by_queue",
]

_LATE = {
    "AsyncFleetClient": "api.client",
    "AzureVMFleet": "executor",
    "FleetClient": "api.client",
    "Run": "experiment",
    "run_azure_process": "compat",
    "run_experiment": "experiment",
    "submit_by_queue": "storage_queue",
}
"""Names that need more than the standard library, and the module that has each."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def source(memory_limit: str = "") -> str:
    """The trial runner's text, for `Store.create_experiment(script=...)`: what every VM then runs.

    `memory_limit` is what a trial may take with all it has started: bytes, or "8G"; empty: no limit.
    """
    text = Path(__file__).with_name("runner.py").read_text(encoding="utf-8")
    return text.replace('MEMORY_LIMIT = ""\n', f"MEMORY_LIMIT = {memory_limit!r}\n", 1)
