"""The interceptor that applies a fault plan's throttling and faults."""

from __future__ import annotations

from local.azure.arm.resources import Store
from local.azure.clock import Clock
from local.azure.cloud import Checkpoint, Interceptor
from local.azure.faults.injector import FaultInjector
from local.azure.faults.throttling import Throttle
from local.azure.options import Options


def with_faults(
    inner: Interceptor, options: Options, clock: Clock, store: Store, tenant: str
) -> Interceptor:
    """Apply the plan in `options`, then call `inner`."""
    throttle = Throttle(options.fault_plan.rates(), clock, store, tenant)
    injector = FaultInjector(
        options.fault_plan.faults, clock, store, seed=options.seed, tenant=tenant
    )

    async def intercept(checkpoint: Checkpoint) -> None:
        if checkpoint.stage == "received":
            throttle.take(checkpoint.call)
        else:
            await injector.inject(checkpoint.stage, checkpoint.call)
        await inner(checkpoint)

    return intercept
