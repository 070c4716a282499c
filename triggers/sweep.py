"""The sweep: on a schedule, and without any orchestration, delete what outlives its fleet."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from fleet import telemetry
from fleet.azure import owned_resources
from fleet.azure.client import Azure, RoleAssignment
from fleet.azure.error_classifier import describe
from fleet.azure.owned_resources import Kind, ResourceRef
from fleet.azure.sweep import BatchStatus, batches_to_check, decide, take_inventory
from fleet.model import failure_policy
from fleet.settings import Settings
from triggers import known_fleets
from triggers.known_fleets import AT_ONCE, SOURCE_PATIENCE, warn

bp = df.Blueprint()

# Read here and not as %FLEET_SWEEP_SCHEDULE% in the binding, which cannot have a default.
SCHEDULE = os.environ.get("FLEET_SWEEP_SCHEDULE") or "0 */5 * * * *"

MOST = 100
"""Deletions of one run: half of Azure's bucket, the rest is for the fleets. The next run comes soon."""
PATIENCE, PLACE_PATIENCE = 240.0, 60.0
"""Seconds for all accounts, and for one: what hangs must not take the others' time."""
EXPECTED = frozenset({"NicReservedForAnotherVm", "NicInUse", "StillAttached", "MarkedForDeletion"})
"""Refusals that pass by themselves: Azure reserves a NIC for 180 s."""


@dataclass
class Run:
    """One sweep."""

    owner: str
    client: Any
    left: int = MOST
    """Deletions that it may still ask for."""
    fates: dict[int, BatchStatus] = field(default_factory=dict)
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
        await known_fleets.close_ended(client, settings)
        await _sweep(run, await known_fleets.accounts(client, settings))


async def _sweep(run: Run, accounts: dict[Azure, set[str]]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            # In any order: an account full of what cannot be deleted is not always the first.
            for connection, uris in random.sample(list(accounts.items()), len(accounts)):
                await _sweep_place(run, connection, uris)
    except TimeoutError:
        text = "The sweep took more than %.0f s; the next one goes on"
        telemetry.LOG.warning(text, PATIENCE, extra={"event": "sweep.cut_short"})


async def _sweep_place(run: Run, connection: Azure, uris: Iterable[str]) -> None:
    if run.left <= 0:
        return
    try:
        async with asyncio.timeout(PLACE_PATIENCE):
            chosen = await _choose(run, connection, uris)
            await _delete(run, connection, chosen)
    except Exception as error:
        _failed(run, connection, error)


async def _choose(run: Run, connection: Azure, uris: Iterable[str]) -> list[ResourceRef]:
    # Role assignments first: one that is listed after its VM came would seem to have none.
    assignments = await _assignments(connection, uris)
    kinds: tuple[Kind, ...] = ("machine", "nic", "disk")
    lists = await asyncio.gather(*(connection.list_kind(kind) for kind in kinds))
    seen = take_inventory(dict(zip(kinds, lists, strict=True)), assignments, connection.scope)
    if seen.unreadable:
        text, some = (
            "The sweep leaves alone what it cannot read: %s",
            ", ".join(seen.unreadable[:10]),
        )
        telemetry.LOG.info(text, some, extra={"event": "sweep.unreadable"})
    now = datetime.now(UTC)
    unknown = sorted(batches_to_check(seen.owned, run.owner, now) - run.fates.keys())
    await known_fleets.ask_fates(run.client, run.fates, unknown)
    return decide(seen.owned, run.fates, run.owner, now)


async def _assignments(connection: Azure, uris: Iterable[str]) -> list[RoleAssignment]:
    try:
        async with asyncio.timeout(SOURCE_PATIENCE):
            return await owned_resources.list_assignments(connection, uris)
    except Exception as error:
        warn(f"The sweep cannot see the role assignments of {connection.scope}", error)
        return []  # VMs cost more, and can be deleted all the same


async def _delete(run: Run, connection: Azure, chosen: list[ResourceRef]) -> None:
    """Start the deletions, a few side by side. What Azure throttles ends the run."""
    deleted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    drawn = owned_resources.sample_evenly(chosen, run.left)
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
    warn(f"The sweep cannot look into {connection.scope}", error)
    if failure_policy.is_throttled(failure):
        run.left = 0


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))
