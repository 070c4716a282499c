"""What the API reads of a fleet beside its status: VMs, progress and logs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from fleet.api import instance_status, progress
from fleet.api.instance_status import ALIVE, order_in
from fleet.api.responses.fleets import FleetWithoutLinks
from fleet.api.responses.machines import Machine
from fleet.api.responses.progress import Progress
from fleet.azure.credentials import open_connections
from fleet.model.records import Order
from fleet.model.state import TERMINAL
from fleet.settings import Settings
from fleet.store import trial_history, vm_logs, vm_records
from fleet.store.database import DatabaseUnreachable
from triggers import query_cache
from triggers.durable_client import find


async def fleet_of(
    client: Any, instance: Mapping[str, Any], teardown: Mapping[str, Any] | None = None
) -> FleetWithoutLinks:
    """`status.answer`; where the fleet itself has no news, with those of the child it waits for."""
    shown = instance_status.fleet_from_instance(instance, teardown)
    if shown["stale_seconds"] is None or instance["runtimeStatus"] not in ALIVE:
        return shown
    child = await find(client, instance_status.child_instance_id(instance))
    return {
        **shown,
        "stale_seconds": instance_status.stale_seconds(instance, datetime.now(UTC), child),
    }


async def log_of(instance: Mapping[str, Any], ordinal: str) -> str:
    """What a VM's console has said: `logs.of_machine`, with the fleet's own account.

    Raises NoLog, SealBroken, SettingsError.
    """
    order: Any = order_in(instance["input"])
    if not re.fullmatch("[0-9]{1,4}", ordinal):
        raise vm_logs.NoLog(f"There is no VM {ordinal[:100]!r}: ordinals have four digits at most.")
    connection, uri = open_connections(order)
    return await vm_logs.read_log(connection, uri, order, int(ordinal))


async def machines_of(instance: Mapping[str, Any]) -> list[Machine]:
    """A record per VM, as `GET /fleets/{id}/machines` shows them: at most one look old.

    Where the database does not answer, as the fleet's durable history began.
    """
    order = _begun(instance)
    _, uri = open_connections(order)
    return await _machines(instance, order, uri)


async def progress_of(instance: Mapping[str, Any]) -> Progress:
    """What `GET /fleets/{id}/progress` tells; `problem` says why the trials are not known.

    Raises SealBroken, SettingsError.
    """
    order, shown = _begun(instance), instance_status.fleet_from_instance(instance)
    _, uri = open_connections(order)
    ended = shown["updated_at"] if shown["phase"] in TERMINAL else None
    span = (order["experiment_id"], order.get("created_at"), ended)
    went, machines = await asyncio.gather(
        _asked(("course", uri, *span), trial_history.load_history, uri, *span),
        _machines(instance, order, uri),
    )
    told = _without_password(went, uri) if isinstance(went, trial_history.TrialHistory) else None
    return progress.progress(
        order,
        told,
        machines,
        Settings.read().prices,
        as_of=datetime.fromisoformat(ended) if ended else datetime.now(UTC),
        ended=ended is not None,
        problem=None if told else str(went),
    )


def _without_password(went: trial_history.TrialHistory, uri: str) -> trial_history.TrialHistory:
    """A trial's error may hold the database's password: trials have it, and may say what they like."""
    messages = [(vm_logs.redact_password(line, uri), count) for line, count in went.error_messages]
    return replace(went, error_messages=messages)


async def _machines(instance: Mapping[str, Any], order: Order, uri: str) -> list[Machine]:
    fleet = (order["batch_id"], order.get("created_at"))
    known = await _asked(("vms", uri, *fleet), vm_records.read, uri, order)
    known = known if isinstance(known, vm_records.StoredVms) else None
    return progress.machines(order, instance_status.vm_records(instance), known)


async def _asked(key: Hashable, look: Callable[..., Any], *arguments: Any) -> Any:
    """What the database answers, or DatabaseUnreachable."""
    try:
        return await query_cache.ask(key, look, *arguments)
    except DatabaseUnreachable as error:
        return error


def _begun(instance: Mapping[str, Any]) -> Order:
    """A fleet's order with the time at which it began, which its first history's input has not."""
    order: Any = order_in(instance["input"])
    begun: Any = {
        **order,
        "created_at": instance_status.fleet_from_instance(instance)["created_at"],
    }
    return cast(Order, begun)
