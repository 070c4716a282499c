"""Structured logs, and metrics and traces if an exporter is configured (docs/observability.md).

The app calls `events`. `fields` adds context to log records, and `setup` loads OpenTelemetry on demand.
"""

from fleet.telemetry.events import (
    activity as activity,
)
from fleet.telemetry.events import (
    failed as failed,
)
from fleet.telemetry.events import (
    fleet_ended as fleet_ended,
)
from fleet.telemetry.events import (
    fleets_counted as fleets_counted,
)
from fleet.telemetry.events import (
    machine_changed as machine_changed,
)
from fleet.telemetry.events import (
    swept as swept,
)
from fleet.telemetry.events import (
    trials_counted as trials_counted,
)
from fleet.telemetry.events import (
    unexpected as unexpected,
)
from fleet.telemetry.fields import LOG as LOG
from fleet.telemetry.fields import bound as bound
from fleet.telemetry.setup import start as start
