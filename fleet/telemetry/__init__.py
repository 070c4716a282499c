"""Structured logs, and metrics and traces if an exporter is configured (docs/observability.md).

The app calls `events`. `fields` adds context to log records, and `setup` loads OpenTelemetry on demand.
"""

from fleet.telemetry.events import (
    activity,
    failed,
    fleet_ended,
    fleets_counted,
    machine_changed,
    swept,
    trials_counted,
    unexpected,
)
from fleet.telemetry.fields import LOG, bound
from fleet.telemetry.setup import start

__all__ = [
    "LOG", "activity", "bound", "failed", "fleet_ended", "fleets_counted", "machine_changed", "start",
    "swept", "trials_counted", "unexpected",
]  # fmt: skip
