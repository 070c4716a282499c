"""Reads a fleet's status, VMs, progress and logs for the API."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from fleet.api import instance_status, locks, progress, trial_list
from fleet.api.instance_status import ALIVE, order_in, started_order
from fleet.api.request import InvalidQuery
from fleet.api.responses.fleets import FleetWithoutLinks
from fleet.api.responses.locks import PackageLocks
from fleet.api.responses.machines import Machine
from fleet.api.responses.progress import Progress
from fleet.api.responses.trials import TrialPage
from fleet.azure.credentials import open_connections
from fleet.model.records import Order
from fleet.model.right_sizing import RightSizing
from fleet.model.state import TERMINAL
from fleet.secrets import SealBroken
from fleet.settings import Settings
from fleet.store import package_locks, trial_history, vm_logs, vm_records
from fleet.store.database import DatabaseUnreachable
from fleet.store.executors import QUERIES
from fleet.store.trial_list import load_trials
from triggers.durable_client import find
from triggers.http import query_cache
from triggers.http.right_sizing import right_sizing_of


async def fleet_of(
    client: Any, instance: Mapping[str, Any], teardown: Mapping[str, Any] | None = None
) -> FleetWithoutLinks:
    """The fleet's status. While it awaits its teardown, the teardown's updates count too."""
    shown = instance_status.fleet_from_instance(instance, teardown)
    if shown["stale_seconds"] is None or instance["runtimeStatus"] not in ALIVE:
        return shown
    name = instance_status.teardown_instance_id(instance)
    awaited = await find(client, name) if name else None
    return {
        **shown,
        "stale_seconds": instance_status.stale_seconds(instance, datetime.now(UTC), awaited),
    }


async def log_of(
    instance: Mapping[str, Any], ordinal: str, after: str | None = None
) -> vm_logs.LogPart:
    """A VM's console log, or its lines after a position, read with the fleet's account.

    Raises InvalidQuery, NoLog, DatabaseUnreachable, SettingsError.
    """
    order: Any = order_in(instance["input"])
    if not re.fullmatch("[0-9]{1,4}", ordinal):
        raise vm_logs.NoLog(f"Ordinal {ordinal[:100]!r} is not a number of up to four digits.")
    try:
        position = None if after is None else vm_logs.Position.read(after)
    except ValueError:
        raise InvalidQuery(["after must be the Log-Next of an earlier response."]) from None
    try:
        connection, uri = open_connections(order)
    except SealBroken as error:
        raise vm_logs.NoLog(str(error)) from None
    if position is None:
        return await vm_logs.read_log(connection, uri, order, int(ordinal))
    return await vm_logs.read_log_after(connection, uri, order, int(ordinal), position)


async def machines_of(instance: Mapping[str, Any]) -> list[Machine]:
    """The response of `GET /fleets/{id}/machines`, at most one poll old; without the database, the state
    at the start of the current durable history. Raises SettingsError.
    """
    order = started_order(instance)
    return await _machines(instance, order, _database_of(order))


async def progress_of(instance: Mapping[str, Any]) -> Progress:
    """The response of `GET /fleets/{id}/progress`; `problem` says why trials are missing.

    Raises SettingsError.
    """
    order, fleet = started_order(instance), instance_status.fleet_from_instance(instance)
    uri = _database_of(order)
    ended = fleet["updated_at"] if fleet["phase"] in TERMINAL else None
    as_of = datetime.fromisoformat(ended) if ended else datetime.now(UTC)
    span = (order["experiment_id"], order.get("created_at"), ended)
    history, machines = await asyncio.gather(
        _query(uri, "history", trial_history.load_history, *span), _machines(instance, order, uri)
    )
    redacted, sizing = None, None
    if isinstance(uri, str) and isinstance(history, trial_history.TrialHistory):
        redacted = _without_password(history, uri)
        sizing = await _right_sizing(order, machines, uri, as_of) if ended else None
    return progress.progress(
        order,
        redacted,
        machines,
        Settings.read().prices,
        as_of=as_of,
        ended=not instance_status.starts_trials(fleet, as_of),
        right_sizing=sizing,
        problem=None if redacted else str(history),
    )


async def trials_of(instance: Mapping[str, Any], query: Mapping[str, str]) -> TrialPage:
    """The response of `GET /fleets/{id}/trials`.

    Raises InvalidQuery, DatabaseUnreachable, SealBroken, SettingsError.
    """
    order, wanted = order_in(instance["input"]), trial_list.read_query(query)
    uri = open_connections(cast(Order, order))[1]
    question = ("trials", order["experiment_id"], wanted)
    rows = await query_cache.run(QUERIES, question, load_trials, uri, *question[1:])
    redacted = functools.partial(vm_logs.redact_password, uri=uri)
    with_traceback = query.get("traceback") == "true"
    return {
        "id": instance["instanceId"],
        "experiment_id": order["experiment_id"],
        "trials": [
            trial_list.entry(row, order["batch_id"], redacted, with_traceback) for row in rows
        ],
        "next": str(rows[-1].id) if len(rows) == wanted.limit else None,
    }


async def locks_of(instance: Mapping[str, Any]) -> PackageLocks:
    """The response of `GET /fleets/{id}/lock`. Raises SettingsError."""
    order = started_order(instance)
    found = await _query(_database_of(order), "locks", package_locks.find, order)
    if isinstance(found, list):
        return locks.shown(order, found)
    return locks.shown(order, [], str(found))


async def _right_sizing(
    order: Order, machines: list[Machine], uri: str, ended: datetime
) -> RightSizing | None:
    try:
        return await right_sizing_of(order, machines, uri, ended)
    except DatabaseUnreachable:
        return None  # the next request may succeed


def _without_password(history: trial_history.TrialHistory, uri: str) -> trial_history.TrialHistory:
    """A trial's error message may contain the database password."""
    messages = [
        (vm_logs.redact_password(line, uri), count) for line, count in history.error_messages
    ]
    return replace(history, error_messages=messages)


def _database_of(order: Order) -> str | SealBroken:
    """The URI of the fleet's database, or the error if no key can decrypt it."""
    try:
        return open_connections(order)[1]
    except SealBroken as error:
        return error


async def _machines(
    instance: Mapping[str, Any], order: Order, uri: str | SealBroken
) -> list[Machine]:
    stored = await _query(uri, "vms", vm_records.read, order)
    stored = stored if isinstance(stored, vm_records.StoredVms) else None
    return progress.machines(order, instance_status.vm_records(instance), stored)


async def _query(
    uri: str | SealBroken, name: str, query: Callable[..., Any], *arguments: Any
) -> Any:
    """The result of a query, or the error that prevents it."""
    if isinstance(uri, SealBroken):
        return uri
    key = json.dumps(arguments, sort_keys=True)
    try:
        return await query_cache.run(QUERIES, (name, key), query, uri, *arguments)
    except DatabaseUnreachable as error:
        return error
