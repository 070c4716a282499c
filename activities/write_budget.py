"""Takes writes from the budget that all fleets of a principal share."""

from __future__ import annotations

import azure.durable_functions as df

from activities.results import never_raises
from fleet.azure.credentials import open_connections
from fleet.model.activities import TakeWrites, WritesGranted
from fleet.settings import Settings
from fleet.store import write_budgets
from fleet.store.executors import ACTIVITIES

bp = df.Blueprint()


@bp.activity_trigger(input_name="task")
@never_raises
async def take_writes(task: TakeWrites) -> WritesGranted:
    """Take up to the writes that a fleet asks for, once per ask. Fails without the app's database."""
    order, settings = task["order"], Settings.read()
    connection, _ = open_connections(order)
    principal = await connection.object_id() or order["client_id"] or settings.owner
    uri = settings.database_uri
    grant = await ACTIVITIES.run(write_budgets.take, uri, principal, order, task["ask"])
    return {"ok": True, "grant": grant}
