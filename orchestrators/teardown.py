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
    OwnedResources,
    OwnedResourcesDeleted,
    ReleaseTrials,
    ResourceRef,
    Teardown,
    TeardownResult,
    TrialsReleased,
)
from fleet.model.order_parts import FleetRef, part_of
from fleet.model.records import Failure
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
LISTS = 3
"""Per history, each with up to 500 deletions: with one history, a teardown's cost would be quadratic."""


@dataclass
class Progress:
    """What the LISTs have shown so far. One LIST proves nothing, because it may lag behind a PUT.

    All values are JSON: each history passes them on.
    """

    give_up_at: str
    """ISO 8601."""
    deleted: int = 0
    unreleased: Failure | None = None
    fewest: int | None = None
    """The fewest resources that a LIST has shown."""
    lists_empty: int = 0
    lists_without_vms: int = 0
    """LISTs in a row."""
    machines: int | None = None
    """VMs in the last LIST; None if it failed, or the VMs are kept."""
    left: list[Mapping[str, object]] = field(default_factory=list)

    def is_over(self, now: datetime) -> bool:
        return self.lists_empty == 2 or now >= datetime.fromisoformat(self.give_up_at)

    def listed(self, found: OwnedResources, now: datetime) -> None:
        self.machines = found["machines"]
        count = len(found["delete"]) + found["waiting"]
        self.lists_empty = 0 if count else self.lists_empty + 1
        self.lists_without_vms = self.lists_without_vms + 1 if self.machines == 0 else 0
        if self.fewest is None or count < self.fewest:
            self.fewest, self.give_up_at = count, (now + PROGRESS_TIMEOUT).isoformat()

    def failed(self, failure: Failure) -> None:
        self.lists_empty, self.lists_without_vms, self.machines = 0, 0, None
        self.left = [failure]

    def result(self) -> TeardownResult:
        ok = self.lists_empty == 2
        return {
            "ok": ok,
            "deleted": self.deleted,
            "left": [] if ok else self.left,
            "machines": self.machines,
            "unreleased": self.unreleased,
        }


@bp.orchestration_trigger(context_name="context")
def teardown_fleet(context: Context) -> Orchestration[TeardownResult | None]:
    """Delete what a fleet owns, until nothing is left or PROGRESS_TIMEOUT passes without progress.

    Runs in a chain of histories (`continue_as_new`).
    """
    task: Teardown = context.get_input()
    give_up_at = (context.current_utc_datetime + PROGRESS_TIMEOUT).isoformat()
    progress = Progress(**task.get("progress", {"give_up_at": give_up_at}))
    for _ in range(LISTS):
        yield from _list_and_delete(context, task, progress)
        if progress.is_over(context.current_utc_datetime):
            return progress.result()
    context.continue_as_new({**task, "progress": vars(progress)})
    return None


def _list_and_delete(context: Context, task: Teardown, progress: Progress) -> Orchestration[None]:
    """One LIST, and the deletion of what it shows.

    Trials are released as soon as no VM exists that could still write results.
    """
    order = part_of(task["order"], FleetRef)
    pause = min(task["order"]["run_poll_seconds"], POLL_SECONDS)
    listing: Teardown = {"order": task["order"], "keep_machines": task["keep_machines"]}
    found: OwnedResources | Failed
    found = yield from call_with_retry(context, list_owned_resources, listing)
    if found["ok"]:
        progress.listed(found, context.current_utc_datetime)
        tried = yield from _delete_in_parts(context, order, found["delete"], pause)
        progress.deleted += tried["deleted"]
        pause = max(pause, tried["retry_after"] or 0.0)
        remaining = {"refused": tried["refused"], "waiting": found["waiting"]}
        progress.left = [remaining, *found["delete"][:DELETIONS_PER_POLL]]
    else:
        progress.failed(found["failure"])
    if progress.lists_without_vms == 2:  # reached again after a VM that appeared late
        progress.unreleased = yield from _release_trials(context, order)
    if progress.lists_empty < 2:
        yield from sleep(context, pause)


def _release_trials(context: Context, order: FleetRef) -> Orchestration[Failure | None]:
    task: ReleaseTrials = {"order": order, "ordinals": None, "reasons": None}
    result: TrialsReleased | Failed = yield from call_with_retry(context, release_trials, task)
    return None if result["ok"] else result["failure"]


def _delete_in_parts(
    context: Context, order: FleetRef, resources: Sequence[ResourceRef], pause: float
) -> Orchestration[OwnedResourcesDeleted]:
    """Try each deletion once, as fast as Azure allows. Returns the sum of the results.

    Stops at the first throttled part: the next LIST finds the rest, and what was refused.
    """
    deleted, retry_after, refused = 0, 0.0, Counter[str]()
    for index, part in enumerate(chunks(resources, DELETIONS_PER_POLL)):
        if index:
            yield from sleep(context, pause)
        tasks: list[DeleteOwnedResources] = [
            {"order": order, "resources": list(some)}
            for some in chunks(part, DELETIONS_PER_ACTIVITY)
        ]
        calls = [(delete_owned_resources, task) for task in tasks]
        results: list[OwnedResourcesDeleted | Failed]
        results = yield from settle(context, calls, max_tries=1)
        for result in results:
            if result["ok"]:
                deleted += result["deleted"]
                refused.update(result["refused"])
                retry_after = max(retry_after, result["retry_after"] or 0.0)
        if retry_after:
            break
    return {"ok": True, "deleted": deleted, "refused": dict(refused), "retry_after": retry_after}
