"""The last word on a fleet, for whoever watches the app."""

from __future__ import annotations

import azure.durable_functions as df

from activities.results import Json, never_raises
from fleet import telemetry

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def report_completion(task: Json) -> Json:
    """`{order, phase, reason, started_at, ended_at}` -> `{}`: log it, measure it, end its trace."""
    telemetry.fleet_ended(**task)
    return {}
