"""From what a user calls a fleet to its durable instance."""

from __future__ import annotations

from typing import Any

from fleet.model import names
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.database import DatabaseUnreachable
from triggers import durable_client, query_cache


class FleetNotFound(LookupError):
    """No fleet has this ID, number or name."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"Fleet {reference[:100]!r} does not exist.")


class FleetAmbiguous(LookupError):
    """Several fleets have an ID or a name that begins so."""

    def __init__(self, reference: str, matches: list[fleets.Row]) -> None:
        ids = ", ".join(row.name or names.instance_id(row.batch_id) for row in matches)
        super().__init__(f"{reference[:100]!r} is ambiguous: {ids}.")


class FleetPurged(LookupError):
    """A fleet of which only the row is left."""

    def __init__(self, row: fleets.Row) -> None:
        when = f"{row.purged_at:%Y-%m-%d}" if row.purged_at else "some time ago"
        super().__init__(
            f"fleet-{row.number} ended and was purged on {when} (FLEET_RETENTION_DAYS). Its trials and "
            "results are still in its database."
        )
        self.row = row


async def find_instance(client: Any, reference: str) -> dict[str, Any]:
    """The instance of a fleet, named by its ID, number, name, `latest`, or the beginning of one.

    Raises FleetNotFound, FleetAmbiguous, FleetPurged, TaskHubUnavailable, DatabaseUnreachable,
    SettingsError.
    """
    if names.batch_of(reference) is not None:
        # No fleet's number is another fleet's batch ID, so this cannot be another fleet.
        instance = await durable_client.find(client, reference)
        if instance is not None:
            return instance
    row = await find_row(reference)
    instance = await durable_client.find(client, names.instance_id(row.batch_id))
    if instance is None:
        raise FleetPurged(row)
    return instance


async def find_row(reference: str) -> fleets.Row:
    """Raises FleetNotFound, FleetAmbiguous, DatabaseUnreachable, SettingsError."""
    uri = Settings.read().database_uri
    matches = await query_cache.ask(("fleet", uri, reference), fleets.matching, uri, reference)
    if not matches:
        raise FleetNotFound(reference)
    if len(matches) > 1:
        raise FleetAmbiguous(reference, matches)
    row: fleets.Row = matches[0]
    return row


async def find_row_if_available(reference: str) -> fleets.Row | None:
    """`find_row`, or None: for what is shown of a fleet beside its status."""
    try:
        return await find_row(reference)
    except (FleetNotFound, FleetAmbiguous, DatabaseUnreachable):
        return None
