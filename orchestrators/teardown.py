"""`teardown_fleet`: delete everything of a batch until two LISTs in a row find nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import azure.durable_functions as df

from activities.owned_resources import delete_owned_resources, list_owned_resources
from activities.trials import release_trials
from fleet.model.activities import (
    DeleteOwnedResources,
    Failed,
    OwnedResource,
    OwnedResources,
    OwnedResourcesDeleted,
    ReleaseTrials,
    Teardown,
    TeardownResult,
    TrialsReleased,
)
from fleet.model.records import Failure, Order
from orchestrators.patterns import Context, Orchestration, call_with_retry, chunks, settle, sleep

bp = df.Blueprint()

PROGRESS_TIMEOUT = timedelta(minutes=30)
"""Longer than the slowest known deletion, and than the 180 s for which Azure reserves a NIC."""
POLL_SECONDS = 10.0
"""Between two LISTs, and between two parts of the deletions after one."""
DELETIONS_PER_POLL = 100
"""Azure refills ten deletions per second (bucket: 200)."""
DELETIONS_PER_ACTIVITY = 10
"""Each activity adds to the history, which every step replays."""


@dataclass
class Progress:
    """What the LISTs have shown so far. One LIST proves nothing, because it may lag behind a PUT."""

    give_up_at: datetime
    fewest: int | None = None
    """The fewest resources that a LIST has shown."""
    lists_empty: int = 0
    lists_without_vms: int = 0
    """LISTs in a row."""
    machines: int | None = None
    """VMs in the last LIST; None if it failed, or the VMs are kept."""
    left: list[Mapping[str, object]] = field(default_factory=list)

    def listed(self, found: OwnedResources, now: datetime) -> None:
        self.machines = found["machines"]
        count = len(found["delete"]) + found["waiting"]
        self.lists_empty = 0 if count else self.lists_empty + 1
        self.lists_without_vms = self.lists_without_vms + 1 if self.machines == 0 else 0
        if self.fewest is None or count < self.fewest:
            self.fewest, self.give_up_at = count, now + PROGRESS_TIMEOUT

    def failed(self, failure: Failure) -> None:
        self.lists_empty, self.lists_without_vms, self.machines = 0, 0, None
        self.left = [failure]


@bp.orchestration_trigger(context_name="context")
def teardown_fleet(context: Context) -> Orchestration[TeardownResult]:
    """Delete what a fleet owns, until nothing is left or PROGRESS_TIMEOUT passes without progress.

    Trials are released as soon as no VM exists that could still write results.
    """
    task: Teardown = context.get_input()
    order = task["order"]
    progress = Progress(context.current_utc_datetime + PROGRESS_TIMEOUT)
    deleted, unreleased = 0, None
    while progress.lists_empty < 2 and context.current_utc_datetime < progress.give_up_at:
        pause = min(order["run_poll_seconds"], POLL_SECONDS)
        found: OwnedResources | Failed
        found = yield from call_with_retry(context, list_owned_resources, task)
        if found["ok"]:
            progress.listed(found, context.current_utc_datetime)
            tried = yield from _delete_in_parts(context, order, found["delete"], pause)
            deleted, pause = deleted + tried["deleted"], max(pause, tried["retry_after"] or 0.0)
            remaining = {"refused": tried["refused"], "waiting": found["waiting"]}
            progress.left = [remaining, *found["delete"][:DELETIONS_PER_POLL]]
        else:
            progress.failed(found["failure"])
        if progress.lists_without_vms == 2:  # reached again after a VM that appeared late
            unreleased = yield from _release_trials(context, order)
        if progress.lists_empty < 2:
            yield from sleep(context, pause)
    ok = progress.lists_empty == 2
    return {
        "ok": ok,
        "deleted": deleted,
        "left": [] if ok else progress.left,
        "machines": progress.machines,
        "unreleased": unreleased,
    }


def _release_trials(context: Context, order: Order) -> Orchestration[Failure | None]:
    task: ReleaseTrials = {"order": order, "ordinals": None, "reasons": None}
    result: TrialsReleased | Failed = yield from call_with_retry(context, release_trials, task)
    return None if result["ok"] else result["failure"]


def _delete_in_parts(
    context: Context, order: Order, resources: Sequence[OwnedResource], pause: float
) -> Orchestration[OwnedResourcesDeleted]:
    """Delete as fast as Azure allows. Returns the sum of the results.

    Stops at the first throttled part: the next LIST finds the rest.
    """
    total: OwnedResourcesDeleted = {"ok": True, "deleted": 0, "refused": {}, "retry_after": None}
    for index, part in enumerate(chunks(resources, DELETIONS_PER_POLL)):
        if index:
            yield from sleep(context, pause)
        tried = yield from _delete(context, order, part)
        total = {
            "ok": True,
            "deleted": total["deleted"] + tried["deleted"],
            "refused": dict(Counter(total["refused"]) + Counter(tried["refused"])),
            "retry_after": tried["retry_after"],
        }
        if tried["retry_after"]:
            break
    return total


def _delete(
    context: Context, order: Order, resources: Sequence[OwnedResource]
) -> Orchestration[OwnedResourcesDeleted]:
    """Try each deletion once: the next LIST finds what was refused. Returns the sum of the results."""
    tasks: list[DeleteOwnedResources] = [
        {"order": order, "resources": list(part)}
        for part in chunks(resources, DELETIONS_PER_ACTIVITY)
    ]
    calls = [(delete_owned_resources, task) for task in tasks]
    results: list[OwnedResourcesDeleted | Failed] = yield from settle(context, calls, max_tries=1)
    done = [result for result in results if result["ok"]]
    refused: Counter[str] = Counter()
    for result in done:
        refused.update(result["refused"])
    return {
        "ok": True,
        "deleted": sum(result["deleted"] for result in done),
        "refused": dict(refused),
        "retry_after": max((result["retry_after"] or 0.0 for result in done), default=None),
    }
