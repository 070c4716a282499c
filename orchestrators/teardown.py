"""The end of every fleet: delete what is the batch's, until two looks in a row find nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import azure.durable_functions as df

from activities.owned_resources import delete_owned_resources, list_owned_resources
from activities.trials import release_trials
from fleet.model.records import Failure, Order
from orchestrators.patterns import Context, Orchestration, attempt, settle, sleep

bp = df.Blueprint()

PATIENCE = timedelta(minutes=30)
"""Without progress. Above the slowest deletion that we know of, and the 180 s for which Azure
reserves a NIC."""
LOOK_SECONDS = 10.0
"""Between two looks; `PER_LOOK` of list_owned_resources depends on it."""
AT_ONCE = 10
"""Deletions per activity: each activity adds to the history, which is replayed at every step."""


@dataclass
class Looks:
    """What the looks so far have told."""

    give_up: datetime
    least: int | None = None
    """The fewest things that were there at a look."""
    empty: int = 0
    without_vms: int = 0
    """Looks in a row: a list may lag behind a PUT, so one alone proves nothing."""
    machines: int | None = None
    """VMs at the last look; None where it was not told."""
    left: Any = None

    def take(self, look: dict[str, Any], now: datetime) -> None:
        self.machines = look["machines"]
        standing = len(look["delete"]) + look["waiting"]
        self.empty = 0 if standing else self.empty + 1
        self.without_vms = self.without_vms + 1 if self.machines == 0 else 0
        if self.least is None or standing < self.least:
            self.least, self.give_up = standing, now + PATIENCE

    def miss(self, failure: Failure) -> None:
        self.empty, self.without_vms, self.machines = 0, 0, None
        self.left = [failure]


@bp.orchestration_trigger(context_name="context")
def teardown_fleet(context: Context) -> Orchestration:
    """`{order, keep_machines}` -> `{ok, deleted, left, machines, unreleased}`.

    `left`: what stood after PATIENCE. `machines`: how many VMs, those being deleted included; null
    where nobody could tell, or they are kept. `unreleased`: the failure where the trials of the VMs
    could not be given back, which is done as soon as no VM stands that could write on.
    """
    task: dict[str, Any] = context.get_input()
    order: Order = task["order"]
    looks = Looks(context.current_utc_datetime + PATIENCE)
    deleted, unreleased = 0, None
    while looks.empty < 2 and context.current_utc_datetime < looks.give_up:
        look = yield from attempt(context, list_owned_resources, task)
        pause = min(order["run_poll_seconds"], LOOK_SECONDS)
        if look["ok"]:
            looks.take(look, context.current_utc_datetime)
            tried = yield from _delete(context, order, look["delete"])
            deleted, pause = deleted + tried["deleted"], max(pause, tried["wait"])
            looks.left = [
                {"refused": tried["refused"], "waiting": look["waiting"]},
                *look["delete"],
            ]
        else:
            looks.miss(look["failure"])
        if looks.without_vms == 2:  # again where a VM came late
            unreleased = yield from _give_back(context, order)
        if looks.empty < 2:
            yield from sleep(context, pause)
    ok = looks.empty == 2
    left = [] if ok else looks.left
    told = {"machines": looks.machines, "unreleased": unreleased}
    return {"ok": ok, "deleted": deleted, "left": left, **told}


def _give_back(context: Context, order: Order) -> Orchestration:
    """Give back the trials of every VM of the batch; returns None, or the failure."""
    task = {"order": order, "ordinals": None, "reasons": None}
    released = yield from attempt(context, release_trials, task)
    return None if released["ok"] else released["failure"]


def _delete(context: Context, order: Order, resources: list[dict[str, Any]]) -> Orchestration:
    """One try each: what is refused now is found again by the next look.

    Returns `{deleted, refused, wait}`: how many it took, how many not, by code, and how many seconds
    Azure asks us to wait.
    """
    calls = [
        (delete_owned_resources, {"order": order, "resources": resources[start : start + AT_ONCE]})
        for start in range(0, len(resources), AT_ONCE)
    ]
    results = [result for result in (yield from settle(context, calls, rounds=1)) if result["ok"]]
    refused: Counter[str] = Counter()
    for result in results:
        refused.update(result["refused"])
    return {
        "deleted": sum(result["deleted"] for result in results),
        "refused": dict(refused),
        "wait": max((result["retry_after"] or 0.0 for result in results), default=0.0),
    }
