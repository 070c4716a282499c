"""Reporting that a fleet has ended."""

from __future__ import annotations

import azure.durable_functions as df

from activities.results import never_raises
from fleet import telemetry
from fleet.model.activities import Ok, ReportCompletion

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def report_completion(task: ReportCompletion) -> Ok:
    """Log it, measure it, and end its trace."""
    telemetry.fleet_ended(**task)
    return {"ok": True}
