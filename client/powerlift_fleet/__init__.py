"""Powerlift Fleet for benchmark code.

Importing this imports nothing but the standard library; each name brings what it needs when it is
first used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powerlift_fleet._version import __version__
from powerlift_fleet.errors import (
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
    from powerlift_fleet.client import AsyncFleetClient, FleetClient

__all__ = [
    "ApiError",
    "AppUnavailable",
    "AsyncFleetClient",
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
    "Unauthorized",
    "__version__",
    "source",
]

_LATE = {"AsyncFleetClient": "client", "FleetClient": "client"}
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
