"""The end of every fleet: delete what is the batch's, until two looks in a row find nothing."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from activities.leftovers import delete_leftovers, find_leftovers
from fleet.records import Order
from orchestrators.patterns import Context, Steps, attempt, settle, sleep

bp = df.Blueprint()

PATIENCE = timedelta(minutes=30)
"""Without progress. Above the slowest deletion that we know of, and the 180 s for which Azure
reserves a NIC."""
LOOK_SECONDS = 10.0
"""Between two looks; `PER_LOOK` of find_leftovers depends on it."""
AT_ONCE = 10
"""Deletions per activity: each activity adds to the history, which is replayed at every step."""


@bp.orchestration_trigger(context_name="context")
def teardown_fleet(context: Context) -> Steps:
    """`{order, keep_machines}` -> `{ok, deleted, left}`: what stood after PATIENCE."""
    task: dict[str, Any] = context.get_input()
    order: Order = task["order"]
    give_up = context.current_utc_datetime + PATIENCE
    empty_looks = deleted = 0
    least: int | None = None
    left: Any = None
    while empty_looks < 2 and context.current_utc_datetime < give_up:
        look = yield from attempt(context, find_leftovers, task)
        pause = min(order["watch_seconds"], LOOK_SECONDS)
        if look["ok"]:
            standing = len(look["delete"]) + look["waiting"]
            empty_looks = 0 if standing else empty_looks + 1
            if least is None or standing < least:
                least, give_up = standing, context.current_utc_datetime + PATIENCE
            tried = yield from _delete(context, order, look["delete"])
            deleted, pause = deleted + tried["deleted"], max(pause, tried["wait"])
            left = [{"refused": tried["refused"], "waiting": look["waiting"]}, *look["delete"]]
        else:
            empty_looks, left = 0, [look["failure"]]
        if empty_looks < 2:
            yield from sleep(context, pause)
    ok = empty_looks == 2
    return {"ok": ok, "deleted": deleted, "left": [] if ok else left}


def _delete(context: Context, order: Order, resources: list[dict[str, Any]]) -> Steps:
    """One try each: what is refused now is found again by the next look.

    Returns `{deleted, refused, wait}`: how many it took, how many not, by code, and how many seconds
    Azure asks us to wait.
    """
    calls = [
        (delete_leftovers, {"order": order, "resources": resources[start : start + AT_ONCE]})
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
