"""What both doors share: one request becomes one fleet, however often it is delivered."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from fleet import telemetry
from fleet.api import progress, status
from fleet.api.order import order_of
from fleet.api.request import Fault, FleetRequest, RequestRefused, chosen_batch, parse, uri_faults
from fleet.api.responses import Machine, Plan, Progress
from fleet.api.status import ALIVE
from fleet.azure.client import connect
from fleet.azure.credentials import opened
from fleet.model import names
from fleet.model.records import Order
from fleet.model.state import TERMINAL
from fleet.preflight.plan import preview
from fleet.secrets import Seal
from fleet.settings import Settings
from fleet.store import trial_history, vm_logs, vm_records
from fleet.store.database import DatabaseUnreachable
from triggers import query_cache

RUN_FLEET = "run_fleet"
TEARDOWN_FLEET = "teardown_fleet"
MARK_CANCELLED = "mark_cancelled"


class BatchTaken(Exception):
    """The batch id already names a fleet that was asked for in other words."""

    def __init__(self, batch_id: int) -> None:
        super().__init__(
            f"Batch {batch_id} is another request's. Repeat that request as it was, or leave "
            "batch_id out to get a new one."
        )


class TaskHubUnavailable(RuntimeError):
    """The task hub could not be read or written; it may answer in a minute."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A fleet that exists now; `created` says whether this very call made it."""

    id: str
    batch_id: int
    created: bool


async def submit(client: Any, document: Any, idempotency_key: str | None) -> Accepted:
    """Start the fleet that a request asks for, unless it is there already.

    Raises RequestRefused (with every fault), BatchTaken, SettingsError, SealBroken, TaskHubUnavailable.
    """
    request = parse(document)
    settings = Settings.read()
    _complete(request, settings)
    batch_id = chosen_batch(request, idempotency_key)
    instance = names.instance_id(batch_id)
    seal = Seal(settings.sealing_keys)
    fingerprints = seal.fingerprints(_plain(request, batch_id))
    if await _repeats(client, instance, batch_id, fingerprints):
        return Accepted(instance, batch_id, created=False)
    order = order_of(request, settings, batch_id)
    order |= {"sealed": seal.close(_secrets(request)), "fingerprint": fingerprints[0]}
    try:
        with _task_hub():
            await client.start_new(RUN_FLEET, instance, order)
    except TaskHubUnavailable:
        # Somebody else may have started it between our look and our start: the host refuses two.
        if await _repeats(client, instance, batch_id, fingerprints):
            return Accepted(instance, batch_id, created=False)
        raise
    extra = {"event": "fleet.asked", "fleet": instance}
    text, told = "Asked for %d VMs for experiment %d", (request.n_instances, request.experiment_id)
    telemetry.LOG.info(text, *told, extra=extra)
    return Accepted(instance, batch_id, created=True)


async def plan(document: Any) -> Plan:
    """What a fleet of this request would meet: `preflight.plan.preview`. Starts and stores nothing.

    Raises RequestRefused (with every fault), SettingsError.
    """
    request = parse(document)
    settings = Settings.read()
    _complete(request, settings)
    order: Any = order_of(request, settings, chosen_batch(request, None))
    secrets = _secrets(request)
    connection = connect(order, settings, secrets.get("client_secret"))
    uri = secrets.get("uri") or settings.database_uri or ""
    return await preview(connection, uri, order)


async def log_of(instance: Mapping[str, Any], ordinal: str) -> str:
    """What a VM's console has said: `logs.of_machine`, with the fleet's own account.

    Raises NoLog, SealBroken, SettingsError.
    """
    order: Any = order_in(instance["input"])
    if not re.fullmatch("[0-9]{1,4}", ordinal):
        raise vm_logs.NoLog(f"There is no VM {ordinal[:100]!r}: ordinals have four digits at most.")
    connection, uri = opened(order)
    return await vm_logs.of_machine(connection, uri, order, int(ordinal))


async def machines_of(instance: Mapping[str, Any]) -> list[Machine]:
    """A record per VM, as `GET /fleets/{id}/machines` shows them: at most one look old.

    Where the database does not answer, as the fleet's durable history began.
    """
    order = _begun(instance)
    _, uri = opened(order)
    return await _machines(instance, order, uri)


async def progress_of(instance: Mapping[str, Any]) -> Progress:
    """What `GET /fleets/{id}/progress` tells; `problem` says why the trials are not known.

    Raises SealBroken, SettingsError.
    """
    order, shown = _begun(instance), status.answer(instance)
    _, uri = opened(order)
    ended = shown["updated_at"] if shown["phase"] in TERMINAL else None
    span = (order["experiment_id"], order.get("created_at"), ended)
    went, machines = await asyncio.gather(
        _asked(("course", uri, *span), trial_history.course, uri, *span),
        _machines(instance, order, uri),
    )
    told = _without_password(went, uri) if isinstance(went, trial_history.Course) else None
    return progress.progress(
        order,
        told,
        machines,
        Settings.read().prices,
        as_of=datetime.fromisoformat(ended) if ended else datetime.now(UTC),
        ended=ended is not None,
        problem=None if told else str(went),
    )


def _without_password(went: trial_history.Course, uri: str) -> trial_history.Course:
    """A trial's error may hold the database's password: trials have it, and may say what they like."""
    why = [(vm_logs.without_password(line, uri), count) for line, count in went.why]
    return replace(went, why=why)


async def _machines(instance: Mapping[str, Any], order: Order, uri: str) -> list[Machine]:
    fleet = (order["batch_id"], order.get("created_at"))
    known = await _asked(("vms", uri, *fleet), vm_records.read, uri, order)
    known = known if isinstance(known, vm_records.Known) else None
    return progress.machines(order, status.records(instance), known)


async def _asked(key: Hashable, look: Callable[..., Any], *arguments: Any) -> Any:
    """What the database answers, or DatabaseUnreachable."""
    try:
        return await query_cache.ask(key, look, *arguments)
    except DatabaseUnreachable as error:
        return error


def _begun(instance: Mapping[str, Any]) -> Order:
    """A fleet's order with the time at which it began, which its first history's input has not."""
    order: Any = order_in(instance["input"])
    begun: Any = {**order, "created_at": status.answer(instance)["created_at"]}
    return cast(Order, begun)


async def cancel(client: Any, instance: str) -> bool:
    """Cancel a fleet, or tear down what a finished one has left. False when there is no such fleet."""
    status = await find(client, instance)
    if status is None:
        return False
    order = order_in(status["input"])
    telemetry.LOG.info("Cancelled", extra={"event": "fleet.cancelled", "fleet": instance})
    if status["runtimeStatus"] in ALIVE:
        # The mark first: an event can be lost, and the fleet then looks for the mark.
        await _start(client, MARK_CANCELLED, names.cancel_id(order["batch_id"]), {})
        if await _raise_cancel(client, instance):
            return True
    task = {"order": order, "keep_machines": False}
    await _start(client, TEARDOWN_FLEET, names.teardown_id(order["batch_id"]), task)
    return True


async def _raise_cancel(client: Any, instance: str) -> bool:
    """Whether the fleet was there to hear it: it may have ended since we looked."""
    try:
        await client.raise_event(instance, names.CANCEL_EVENT, {})
    except Exception:
        if await _is_alive(client, instance):
            raise
        return False
    return True


async def _start(client: Any, orchestrator: str, instance: str, task: Mapping[str, Any]) -> None:
    """Start an instance, unless it is under way."""
    if await _is_alive(client, instance):
        return
    try:
        await client.start_new(orchestrator, instance, task)
    except Exception:
        # Perhaps somebody has started it between our look and our start: the host refuses two. That
        # one may have ended meanwhile, as a mark does at once.
        if not await _is_alive(client, instance):
            await client.start_new(orchestrator, instance, task)


async def _is_alive(client: Any, instance: str) -> bool:
    status = await find(client, instance)
    return status is not None and status["runtimeStatus"] in ALIVE


async def find(client: Any, instance: str) -> dict[str, Any] | None:
    """An instance's status as JSON, or None.

    Raises TaskHubUnavailable: the SDK's `get_status` then says the same as of an instance that does
    not exist, so that answer is checked.
    """
    with _task_hub():
        status = await client.get_status(instance)
        listed = [] if status else await client.get_status_by(instance_id_prefix=instance)
    if status:
        return as_json(status)
    return next((as_json(one) for one in listed if one.instance_id == instance), None)


@contextmanager
def _task_hub() -> Iterator[None]:
    """Raise TaskHubUnavailable for what the SDK raises: mostly a bare Exception."""
    try:
        yield
    except Exception as error:
        raise TaskHubUnavailable(f"The task hub cannot be used: {error}") from error


async def find_all(client: Any) -> list[dict[str, Any]]:
    """The status of the fleets that the task hub knows, without waves and teardowns.

    The SDK's client reads one page, of 100 instances on most hosts: an older fleet may be missing.
    """
    found = await client.get_status_by(instance_id_prefix=names.FLEET_PREFIX)
    every = [as_json(status) for status in found]
    return [one for one in every if names.batch_of(one["instanceId"]) is not None]


def as_json(status: Any) -> dict[str, Any]:
    """A `DurableOrchestrationStatus` as JSON. The input may come as text that holds JSON."""
    document: dict[str, Any] = status.to_json()
    if isinstance(document.get("input"), str):
        document["input"] = json.loads(document["input"])
    return document


async def _repeats(client: Any, instance: str, batch_id: int, fingerprints: list[str]) -> bool:
    """Whether the fleet is there already. Raises BatchTaken when it is another request's."""
    status = await find(client, instance)
    if status is None:
        return False
    if order_in(status["input"])["fingerprint"] not in fingerprints:
        raise BatchTaken(batch_id)
    return True


def order_in(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order in an orchestration's input: alone at first, later part of the fleet's state."""
    order: Mapping[str, Any] = document.get("order", document)
    return order


def _complete(request: FleetRequest, settings: Settings) -> None:
    """Refuse what neither the request nor the settings say."""
    account = request.azure_json
    needed = [
        ("/uri", request.uri or settings.database_uri, "POWERLIFT_DB_URI"),
        (
            "/azure_json/subscription_id",
            account.subscription_id or settings.subscription_id,
            "AZURE_SUBSCRIPTION_ID",
        ),
        (
            "/azure_json/resource_group",
            account.resource_group or settings.resource_group,
            "AZURE_RESOURCE_GROUP",
        ),
    ]
    faults = [
        Fault(pointer, f"Neither the request nor the setting {setting} says this.")
        for pointer, value, setting in needed
        if not value
    ]
    if not request.uri:
        faults += uri_faults(settings.database_uri)
    if faults:
        raise RequestRefused(faults)


def _secrets(request: FleetRequest) -> dict[str, str]:
    secrets = {"uri": request.uri, "client_secret": request.azure_json.client_secret}
    return {name: value.get_secret_value() for name, value in secrets.items() if value}


def _plain(request: FleetRequest, batch_id: int) -> dict[str, Any]:
    """The whole request, secrets included, for its fingerprint alone."""
    return {**request.model_dump(mode="json"), **_secrets(request), "batch_id": batch_id}
