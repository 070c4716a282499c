"""Whether a smaller VM size would have done for an ended fleet: reads its VMs' use, and prices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fleet.api import progress
from fleet.api.responses.machines import Machine
from fleet.model import right_sizing
from fleet.model.costs import price_key, vm_hours
from fleet.model.records import Order
from fleet.model.right_sizing import RightSizing
from fleet.preflight.prices import find_prices
from fleet.settings import Settings
from fleet.store import vm_use
from fleet.store.executors import QUERIES
from triggers.http import query_cache


async def right_sizing_of(
    order: Order, machines: Sequence[Machine], uri: str, ended: datetime
) -> RightSizing | None:
    """None without VMs. Raises DatabaseUnreachable, SettingsError."""
    hours = vm_hours(machines, ended)
    placement = right_sizing.main_placement(hours)
    if placement is None:
        return None
    key = price_key(placement)
    question = ("use", order["experiment_id"], order["batch_id"], order.get("created_at"))
    use = await query_cache.run(QUERIES, question, vm_use.read, uri, order)
    reported = [
        one for one in machines if one["ordinal"] in use and price_key(one["placement"]) == key
    ]
    trials = sum(one["trials"]["complete"] + one["trials"]["error"] for one in reported)
    assessed = right_sizing.assess(placement, [use[one["ordinal"]] for one in reported], trials)
    prices = dict(progress.known_prices(order, hours, Settings.read().prices))
    if assessed.candidates:
        candidates = map(assessed.placement_of, assessed.candidates)
        prices |= await find_prices(candidates, order["vm"], QUERIES)
    return right_sizing.conclude(assessed, prices)
