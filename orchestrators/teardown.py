"""The end of every fleet: delete what bears the batch's tag, until two looks in a row find nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import azure.durable_functions as df

from activities.leftovers import delete_leftover, find_leftovers
from fleet.records import Order
from orchestrators.patterns import Context, Steps, attempt, settle, sleep

bp = df.Blueprint()

PATIENCE = timedelta(minutes=30)
"""Above the slowest deletion that we know of, and the 180 s for which Azure reserves a NIC."""


@bp.orchestration_trigger(context_name="context")
def teardown_fleet(context: Context) -> Steps:
    """`{order, principals, keep_machines}` -> `{ok, deleted, left}`: what stood after PATIENCE."""
    task: dict[str, Any] = context.get_input()
    order: Order = task["order"]
    give_up = context.current_utc_datetime + PATIENCE
    empty_looks = deleted = 0
    left: Any = None
    while empty_looks < 2 and context.current_utc_datetime < give_up:
        look = yield from attempt(context, find_leftovers, task)
        left = [*look["delete"], {"waiting": look["waiting"]}] if look["ok"] else [look["failure"]]
        if look["ok"] and not look["delete"] and not look["waiting"]:
            empty_looks += 1
        else:
            empty_looks = 0
            deleted += yield from _delete(context, order, look.get("delete", []))
        if empty_looks < 2:
            yield from sleep(context, min(order["watch_seconds"], 10.0))
    ok = empty_looks == 2
    return {"ok": ok, "deleted": deleted, "left": [] if ok else left}


def _delete(context: Context, order: Order, resources: list[dict[str, Any]]) -> Steps:
    """One try each: what is refused now is found again by the next look. Returns how many it took."""
    calls = [(delete_leftover, {"order": order, "resource": resource}) for resource in resources]
    results = yield from settle(context, calls, rounds=1)
    return sum(result["ok"] for result in results)
