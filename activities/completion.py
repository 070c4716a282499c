"""Reports the end of a fleet."""

from __future__ import annotations

import azure.durable_functions as df

from activities import fleet_table
from activities.results import never_raises
from fleet import telemetry
from fleet.model.activities import Ok, ReportCompletion

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def report_completion(task: ReportCompletion) -> Ok:
    """Log the end, record its metrics, end the trace, and complete the row in the table of fleets."""
    order, phase, ended_at = task["order"], task["phase"], task["ended_at"]
    telemetry.fleet_ended(order, phase, task["started_at"], ended_at, task["reason"])
    await fleet_table.update(
        order,
        {
            "phase": phase,
            "machines": task["counts"],
            "trials": task["trials"],
            "reason": task["reason"],
            "cost": task.get("cost"),  # absent in a call of an earlier build
            "ended_at": ended_at,
        },
    )
    return {"ok": True}
