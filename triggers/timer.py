"""The sweep: on a schedule, and without any orchestration, delete what outlives its fleet."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.api.status import ALIVE
from fleet.azure import credentials, owned_resources
from fleet.azure.client import Assignment, Azure
from fleet.azure.errors import describe
from fleet.azure.owned_resources import Kind, Leftover
from fleet.azure.sweep import Fate, asked_about, decide, survey
from fleet.model import failure_policy, names
from fleet.settings import Settings
from triggers import submission

bp = df.Blueprint()

# Read here and not as %FLEET_SWEEP_SCHEDULE% in the binding, which cannot have a default.
SCHEDULE = os.environ.get("FLEET_SWEEP_SCHEDULE") or "0 */5 * * * *"

MOST = 100
"""Deletions of one run: half of Azure's bucket, the rest is for the fleets. The next run comes soon."""
AT_ONCE = 10
PATIENCE, PLACE_PATIENCE, SOURCE_PATIENCE = 240.0, 60.0, 20.0
"""Seconds for all accounts, for one, and for each thing that the sweep can do without: what hangs must
not take the others' time.
"""
PAGE = 100
"""Instances that the durable client gets for one question; it cannot ask for the second page."""
EXPECTED = frozenset({"NicReservedForAnotherVm", "NicInUse", "StillAttached", "MarkedForDeletion"})
"""Refusals that pass by themselves: Azure reserves a NIC for 180 s."""


@dataclass
class Run:
    """One sweep."""

    owner: str
    client: Any
    left: int = MOST
    """Deletions that it may still ask for."""
    fates: dict[int, Fate] = field(default_factory=dict)
    """Of the batches that were asked about."""


@bp.function_name("sweep")
@bp.timer_trigger(arg_name="timer", schedule=SCHEDULE, use_monitor=True)
@bp.durable_client_input(client_name="client")
async def sweep(timer: func.TimerRequest, client: Any) -> None:
    """Look into every account that we know, and delete what `fleet.azure.sweep.decide` chooses.

    One account that fails does not stop the others. Raises SettingsError.
    """
    settings = Settings.read()
    run = Run(settings.owner, client)
    with telemetry.activity("sweep", {}):
        await _sweep(run, await _places(client, settings))


async def _sweep(run: Run, places: dict[Azure, set[str]]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            # In any order: an account full of what cannot be deleted is not always the first.
            for connection, uris in random.sample(list(places.items()), len(places)):
                await _sweep_place(run, connection, uris)
    except TimeoutError:
        text = "The sweep took more than %.0f s; the next one goes on"
        telemetry.LOG.warning(text, PATIENCE, extra={"event": "sweep.cut_short"})


async def _places(client: Any, settings: Settings) -> dict[Azure, set[str]]:
    """The app's own account and that of each fleet in the task hub, with the fleets' resource_uris."""
    own = credentials.own(settings)
    places: dict[Azure, set[str]] = {own: set()} if own else {}
    active = 0
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            async for instance in _fleets(client, names.FLEET_PREFIX):
                _add_place(places, instance)
                active += instance["runtimeStatus"] in ALIVE
        telemetry.fleets_counted(active)
    except Exception as error:
        _warn("The sweep cannot ask which fleets there are: it goes by deadlines alone", error)
    return places


def _add_place(places: dict[Azure, set[str]], instance: dict[str, Any]) -> None:
    order: Any = submission.order_in(instance["input"])
    try:
        connection, _ = credentials.opened(order)
    except Exception as error:
        _warn(f"The sweep cannot open the account of {instance['instanceId']}", error)
    else:
        places.setdefault(connection, set()).update(order["resource_uris"])


async def _fleets(client: Any, prefix: str) -> AsyncIterator[dict[str, Any]]:
    """Every fleet in the task hub, page by page: a prefix that fills a page is made longer."""
    page = await client.get_status_by(instance_id_prefix=prefix)
    full = len(page) >= PAGE
    for one in map(submission.as_json, page):
        is_fleet = names.batch_of(one["instanceId"]) is not None
        if is_fleet and (not full or one["instanceId"] == prefix):
            yield one
    for digit in "0123456789" if full else "":
        async for deeper in _fleets(client, prefix + digit):
            yield deeper


async def _sweep_place(run: Run, connection: Azure, uris: Iterable[str]) -> None:
    if run.left <= 0:
        return
    try:
        async with asyncio.timeout(PLACE_PATIENCE):
            chosen = await _choose(run, connection, uris)
            await _delete(run, connection, chosen)
    except Exception as error:
        _failed(run, connection, error)


async def _choose(run: Run, connection: Azure, uris: Iterable[str]) -> list[Leftover]:
    # Role assignments first: one that is listed after its VM came would seem to have none.
    assignments = await _assignments(connection, uris)
    kinds: tuple[Kind, ...] = ("machine", "nic", "disk")
    lists = await asyncio.gather(*(connection.list_kind(kind) for kind in kinds))
    seen = survey(dict(zip(kinds, lists, strict=True)), assignments, connection.scope)
    if seen.unreadable:
        text, some = (
            "The sweep leaves alone what it cannot read: %s",
            ", ".join(seen.unreadable[:10]),
        )
        telemetry.LOG.info(text, some, extra={"event": "sweep.unreadable"})
    now = datetime.now(UTC)
    await _ask(run, sorted(asked_about(seen.standing, run.owner, now) - run.fates.keys()))
    return decide(seen.standing, run.fates, run.owner, now)


async def _assignments(connection: Azure, uris: Iterable[str]) -> list[Assignment]:
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            return await owned_resources.list_assignments(connection, uris)
    except Exception as error:
        _warn(f"The sweep cannot see the role assignments of {connection.scope}", error)
        return []  # VMs cost more, and can be deleted all the same


async def _ask(run: Run, batches: list[int]) -> None:
    """Learn the fates of batches; those that cannot be had are left out."""
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            for start in range(0, len(batches), AT_ONCE):
                await asyncio.gather(
                    *(_ask_for(run, batch) for batch in batches[start : start + AT_ONCE])
                )
    except TimeoutError as error:
        _warn("The sweep cannot ask for every fleet: it goes by deadlines for the others", error)


async def _ask_for(run: Run, batch: int) -> None:
    try:
        run.fates[batch] = await _fate(run.client, names.instance_id(batch))
    except Exception as error:
        _warn(f"The sweep cannot ask for batch {batch}: it goes by its deadline", error)


async def _fate(client: Any, instance: str) -> Fate:
    status = await submission.find(client, instance)
    if status is None:
        return "unknown"
    if status["runtimeStatus"] in ALIVE:
        return "alive"
    return "done" if (status.get("customStatus") or {}).get("phase") == "done" else "ended"


async def _delete(run: Run, connection: Azure, chosen: list[Leftover]) -> None:
    """Start the deletions, a few side by side. What Azure throttles ends the run."""
    deleted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    drawn = owned_resources.fairly(chosen, run.left)
    for start in range(0, len(drawn), AT_ONCE):
        group = drawn[start : start + min(AT_ONCE, run.left)]
        if not group:
            break
        run.left -= len(group)
        outcomes = await asyncio.gather(
            *(owned_resources.delete(connection, one) for one in group), return_exceptions=True
        )
        for one, error in zip(group, outcomes, strict=True):
            if error is None:
                deleted[one["kind"]] += 1
                continue
            failure = describe(error)
            refused[failure["code"]] += failure["code"] not in EXPECTED
            if failure_policy.is_throttled(failure):
                run.left = 0
    _report(connection.scope, deleted, +refused)


def _report(scope: str, deleted: Counter[str], refused: Counter[str]) -> None:
    if deleted:
        # A VM costs money, and its own fleet should have deleted it.
        level = logging.WARNING if deleted["machine"] else logging.INFO
        extra = {"event": "sweep.deleted"}
        telemetry.LOG.log(level, "The sweep deleted %s in %s", _told(deleted), scope, extra=extra)
    for kind, count in deleted.items():
        telemetry.swept(kind, count)
    if refused:
        text, extra = "The sweep was refused in %s: %s", {"event": "sweep.refused"}
        telemetry.LOG.warning(text, scope, _told(refused), extra=extra)


def _failed(run: Run, connection: Azure, error: Exception) -> None:
    failure = describe(error)
    _warn(f"The sweep cannot look into {connection.scope}", error)
    if failure_policy.is_throttled(failure):
        run.left = 0


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))


def _warn(what: str, error: Exception) -> None:
    telemetry.failed(describe(error), what, event="sweep.failed")
