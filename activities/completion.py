"""Reports the end of a fleet."""

from __future__ import annotations

from datetime import datetime

import azure.durable_functions as df

from activities import fleet_table
from activities.results import never_raises
from fleet import telemetry
from fleet.api import progress
from fleet.azure.credentials import open_connections
from fleet.model.activities import Ok, ReportCompletion
from fleet.model.order_parts import FleetRef
from fleet.secrets import SealBroken
from fleet.settings import Settings
from fleet.store import vm_records
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import ACTIVITIES

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
            "cost": await _cost(order, ended_at),
            "ended_at": ended_at,
        },
    )
    return {"ok": True}


async def _cost(order: FleetRef, ended_at: str) -> float | None:
    """In US dollars; None without prices, or if the records of its VMs cannot be read."""
    try:
        _, uri = open_connections(order)
        stored = await ACTIVITIES.run(vm_records.read, uri, order)
    except (DatabaseUnreachable, SealBroken):
        return None
    hours = progress.vm_hours(
        progress.machines(order, [], stored), datetime.fromisoformat(ended_at)
    )
    cost = progress.cost(hours, Settings.read().prices, None, datetime.fromisoformat(ended_at))
    return cost["so_far"] if cost else None
