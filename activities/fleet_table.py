"""Updates a fleet's row in the app's own database, for the list of fleets."""

from __future__ import annotations

from fleet import telemetry
from fleet.azure.error_classifier import describe
from fleet.model.order_parts import FleetRef
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import ACTIVITIES


async def update(order: FleetRef, changes: fleets.Changes) -> None:
    """Update the row. If the database is unreachable, log it: an outdated row stops no fleet."""
    try:
        uri = Settings.read().database_uri
        await ACTIVITIES.run(fleets.update, uri, order["batch_id"], changes)
    except DatabaseUnreachable as error:
        telemetry.failed(describe(error), "The table of fleets could not be updated")
