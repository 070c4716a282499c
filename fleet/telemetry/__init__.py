"""What the app tells of itself: structured logs always; metrics and traces where a receiver is named.

`fields` gives every log record its fleet; `setup` reads the environment and loads OpenTelemetry, or
nothing of it; `metrics` and `traces` hold what is measured; `events` is what the rest of the app calls.
docs/observability.md lists all of it.
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
