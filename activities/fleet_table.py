"""Keeping a fleet's row in the app's own database current, for lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet import telemetry
from fleet.azure.error_classifier import describe
from fleet.model.records import Order
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import ACTIVITIES


async def update(order: Order, changes: Mapping[str, Any]) -> None:
    """Update the row, if the database can be reached: a list that is out of date stops no fleet."""
    try:
        uri = Settings.read().database_uri
        await ACTIVITIES.run(fleets.update, uri, order["batch_id"], changes)
    except DatabaseUnreachable as error:
        telemetry.failed(describe(error), "The table of fleets could not be updated")
