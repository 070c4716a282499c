"""The sweep: a timer that deletes orphaned resources, independently of orchestrations."""

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
from fleet.azure.sweep import BatchStatus, batches_to_check, decide, take_inventory
from fleet.model import failure_policy
from fleet.model.activities import ResourceKind, ResourceRef
from fleet.settings import Settings
from triggers.sweep.accounts import accounts
from triggers.sweep.batch_statuses import CONCURRENCY, add_statuses
from triggers.sweep.ended_fleets import mark_ended_fleets
from triggers.sweep.sources import log_failure, optional_source

bp = df.Blueprint()

# Not as %FLEET_SWEEP_SCHEDULE% in the binding, which cannot have a default.
SCHEDULE = os.environ.get("FLEET_SWEEP_SCHEDULE") or "0 */5 * * * *"

BURST = 100
"""Deletions without a pause: half of Azure's write bucket. The fleets use the other half."""
SHARE = 0.5
"""Share of the write budget for further deletions."""
SWEEP_TIMEOUT, ACCOUNT_TIMEOUT = 240.0, 60.0
"""Seconds for all accounts, and to list one account, so that a slow one does not block the others."""
EXPECTED = frozenset({"NicReservedForAnotherVm", "NicInUse", "StillAttached", "MarkedForDeletion"})
"""Transient errors: Azure reserves a NIC for 180 s."""


@dataclass
class Run:
    """One sweep."""

    owner: str
    client: Any
    deletions_per_second: float
    remaining: int = 0
    """Deletions left in this run."""
    burst: int = BURST
    """Deletions left before the first pause."""
    statuses: dict[int, BatchStatus] = field(default_factory=dict)
    """Batch statuses that were already queried."""


@bp.timer_trigger(arg_name="timer", schedule=SCHEDULE, use_monitor=True)
@bp.durable_client_input(client_name="client")
async def sweep(timer: func.TimerRequest, client: Any) -> None:
    """Delete the resources that `fleet.azure.sweep.decide` selects, in all known accounts.

    A failure in one account does not affect the others. Raises SettingsError.
    """
    settings = Settings.read()
    rate = SHARE * settings.writes_per_second
    run = Run(settings.owner, client, rate, remaining=BURST + int(rate * SWEEP_TIMEOUT))
    with telemetry.activity("sweep", {}):
        await mark_ended_fleets(client, settings)
        await _sweep(run, await accounts(client, settings))
        telemetry.LOG.info("The sweep finished", extra={"event": "sweep.finished"})


async def _sweep(run: Run, known: dict[Azure, set[str]]) -> None:
    try:
        async with asyncio.timeout(SWEEP_TIMEOUT):
            # Random order, so that an account with undeletable resources is not always first.
            for connection, uris in random.sample(list(known.items()), len(known)):
                await _sweep_account(run, connection, uris)
    except TimeoutError:
        text = "The sweep exceeded %.0f s; the next one continues"
        telemetry.LOG.warning(text, SWEEP_TIMEOUT, extra={"event": "sweep.cut_short"})


async def _sweep_account(run: Run, connection: Azure, uris: Iterable[str]) -> None:
    if run.remaining <= 0:
        return
    try:
        async with asyncio.timeout(ACCOUNT_TIMEOUT):
            chosen = await _choose(run, connection, uris)
    except Exception as error:
        _failed(run, connection, error)
    else:
        await _delete(run, connection, chosen)


async def _choose(run: Run, connection: Azure, uris: Iterable[str]) -> list[ResourceRef]:
    # List role assignments before VMs: an assignment of a newer VM would look orphaned.
    assignments = await _assignments(connection, uris)
    kinds: tuple[ResourceKind, ...] = ("machine", "nic", "disk")
    lists = await asyncio.gather(*(connection.list_kind(kind) for kind in kinds))
    seen = take_inventory(dict(zip(kinds, lists, strict=True)), assignments, connection.scope)
    if seen.unreadable:
        text, some = (
            "The sweep skips resources with unreadable tags: %s",
            ", ".join(seen.unreadable[:10]),
        )
        telemetry.LOG.info(text, some, extra={"event": "sweep.unreadable"})
    now = datetime.now(UTC)
    unknown = sorted(batches_to_check(seen.owned, run.owner, now) - run.statuses.keys())
    await add_statuses(run.client, run.statuses, unknown)
    return decide(seen.owned, run.statuses, run.owner, now)


async def _assignments(connection: Azure, uris: Iterable[str]) -> list[RoleAssignment]:
    async with optional_source(f"The sweep cannot list the role assignments of {connection.scope}"):
        return await owned_resources.list_assignments(connection, uris)
    return []  # VMs cost more, and can still be deleted


async def _delete(run: Run, connection: Azure, chosen: list[ResourceRef]) -> None:
    """Start the deletions, CONCURRENCY at a time, within the write budget. Throttling ends the run."""
    deleted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    drawn = owned_resources.sample_evenly(chosen, run.remaining)
    try:
        for start in range(0, len(drawn), CONCURRENCY):
            group = drawn[start : start + min(CONCURRENCY, run.remaining)]
            if not group:
                break
            await _pace(run, len(group))
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
                    run.remaining = 0
    finally:
        _report(connection.scope, deleted, +refused)


async def _pace(run: Run, count: int) -> None:
    """Deduct deletions from the run's budget. After the burst, wait for Azure to refill the bucket."""
    run.remaining -= count
    run.burst -= count
    if run.burst < 0:
        await asyncio.sleep(min(count, -run.burst) / run.deletions_per_second)


def _report(scope: str, deleted: Counter[str], refused: Counter[str]) -> None:
    if deleted:
        # A warning for VMs, because their fleet should have deleted them.
        level = logging.WARNING if deleted["machine"] else logging.INFO
        extra = {"event": "sweep.deleted"}
        telemetry.LOG.log(
            level, "The sweep deleted %s in %s", _format_counts(deleted), scope, extra=extra
        )
    for kind, count in deleted.items():
        telemetry.swept(kind, count)
    if refused:
        text, extra = "The sweep failed to delete resources in %s: %s", {"event": "sweep.refused"}
        telemetry.LOG.warning(text, scope, _format_counts(refused), extra=extra)


def _failed(run: Run, connection: Azure, error: Exception) -> None:
    failure = describe(error)
    log_failure(f"The sweep cannot read {connection.scope}", error)
    if failure_policy.is_throttled(failure):
        run.remaining = 0


def _format_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))
