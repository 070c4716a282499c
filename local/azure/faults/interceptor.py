"""The gate at which the plan's throttling and faults wait."""

from __future__ import annotations

from local.azure.arm.resources import Store
from local.azure.clock import Clock
from local.azure.cloud import Gate, Passage
from local.azure.faults.injector import Faults
from local.azure.faults.throttling import Throttle
from local.azure.options import Options


def weathered(gate: Gate, options: Options, clock: Clock, store: Store, tenant: str) -> Gate:
    """`gate` behind what the plan in `options` lets happen; an empty plan changes nothing."""
    throttle = Throttle(options.weather.rates(), clock, store, tenant)
    faults = Faults(options.weather.faults, clock, store, seed=options.seed, tenant=tenant)

    async def guarded(passage: Passage) -> None:
        if passage.phase == "arrive":
            throttle.take(passage.call)
        else:
            await faults.meet(passage.phase, passage.call)
        await gate(passage)

    return guarded
