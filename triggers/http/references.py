"""Resolves a reference to a fleet (ID, number, name) to its durable instance."""

from __future__ import annotations

from typing import Any

from fleet.model import names
from fleet.settings import Settings
from fleet.store import fleets
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import OWN
from triggers import durable_client
from triggers.http import query_cache


class FleetNotFound(LookupError):
    """No fleet has this ID, number or name."""

    def __init__(self, reference: str, hint: str = "") -> None:
        super().__init__(
            f"Fleet {reference[:100]!r} does not exist in this app.{hint} If it was submitted by queue, "
            "the app has not read the message yet, or has refused it: then its log has the reason."
        )


class FleetAmbiguous(LookupError):
    """The reference is a prefix of the IDs or names of several fleets."""

    def __init__(self, reference: str, matches: list[fleets.Row]) -> None:
        ids = ", ".join(row.name or names.instance_id(row.batch_id) for row in matches)
        super().__init__(f"{reference[:100]!r} is ambiguous: {ids}.")


class FleetPurged(LookupError):
    """The fleet was purged: only its row is left."""

    def __init__(self, row: fleets.Row) -> None:
        when = f"{row.purged_at:%Y-%m-%d}" if row.purged_at else "some time ago"
        super().__init__(
            f"fleet-{row.number} ended and was purged on {when} (FLEET_RETENTION_DAYS). Its trials and "
            "results are still in its database."
        )
        self.row = row


async def find_instance(client: Any, reference: str) -> dict[str, Any]:
    """The instance of a fleet, named by its ID, number, name, `latest`, or a prefix of one.

    Raises FleetNotFound, FleetAmbiguous, FleetPurged, TaskHubUnavailable, DatabaseUnreachable,
    SettingsError.
    """
    instance = await _instance_with_id(client, reference)
    if instance is not None:
        return instance
    return await _instance_of(client, await find_row(reference))


async def find_instance_to_cancel(client: Any, reference: str) -> dict[str, Any]:
    """As `find_instance`, but only for an ID, number or complete name: a prefix or `latest` may match
    another fleet a moment later. Without the app's database, only for an ID.
    """
    try:
        uri = Settings.read().database_uri
        matches = await OWN.run(fleets.matching, uri, reference)
    except DatabaseUnreachable:
        instance = await _instance_with_id(client, reference)
        if instance is None:
            raise
        return instance
    exact = [row for row in matches if reference in _whole_references(row)]
    instance = await _instance_with_id(client, reference)
    if instance is not None and all(names.instance_id(row.batch_id) != reference for row in exact):
        if exact:  # the ID of a fleet that is not in the table equals the number of another one
            raise FleetAmbiguous(reference, exact)
        return instance
    if not exact:
        raise FleetNotFound(reference, " To cancel a fleet, give its ID, number or complete name.")
    return await _instance_of(client, exact[0])


async def find_exact_row(reference: str, purpose: str) -> fleets.Row:
    """The row of a fleet, named by its ID, number or complete name: see `find_instance_to_cancel`.

    Raises FleetNotFound, DatabaseUnreachable, SettingsError.
    """
    for row in await OWN.run(fleets.matching, Settings.read().database_uri, reference):
        if reference in _whole_references(row):
            return row
    hint = f" To {purpose} a fleet, give its ID, number or complete name."
    raise FleetNotFound(reference, hint)


async def _instance_with_id(client: Any, reference: str) -> dict[str, Any] | None:
    """The fleet's instance with this ID. The task hub also has waves, teardowns and marks of fleets."""
    if names.batch_of(reference) is None:
        return None
    return await durable_client.find(client, reference)


def _whole_references(row: fleets.Row) -> set[str | None]:
    numbers = (str(row.batch_id), str(row.number))
    return {row.name, *numbers, *(f"{names.FLEET_PREFIX}{number}" for number in numbers)}


async def _instance_of(client: Any, row: fleets.Row) -> dict[str, Any]:
    instance = await durable_client.find(client, names.instance_id(row.batch_id))
    if instance is None:
        raise FleetPurged(row)
    return instance


async def find_row(reference: str, phase: str | None = None) -> fleets.Row:
    """The row, at most a second old and, if `phase` is given, not read in an earlier phase.

    Raises FleetNotFound, FleetAmbiguous, DatabaseUnreachable, SettingsError.
    """
    uri, question = Settings.read().database_uri, ("fleet", reference, phase)
    matches = await query_cache.run(OWN, question, fleets.matching, uri, reference)
    if not matches:
        raise FleetNotFound(reference)
    if len(matches) > 1:
        raise FleetAmbiguous(reference, matches)
    row: fleets.Row = matches[0]
    return row


async def find_row_if_available(reference: str, phase: str | None) -> fleets.Row | None:
    """`find_row`, or None without a match or without the database."""
    try:
        return await find_row(reference, phase)
    except (FleetNotFound, FleetAmbiguous, DatabaseUnreachable):
        return None
