"""Injects the throttling and the faults of a plan: decides which faults fire, and what they do."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

from local.azure.arm.calls import Call
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Store
from local.azure.clock import Clock
from local.azure.cloud import Checkpoint, Interceptor
from local.azure.faults.azure_errors import AZURE_ERRORS
from local.azure.faults.error_template import ErrorTemplate
from local.azure.faults.operation_names import operation_names
from local.azure.faults.plan import ANY, CustomError, Fault
from local.azure.faults.template_values import resource_body, template_values, vm_placement
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


class FaultInjector:
    """Applies faults in the order of the plan. The first error ends the operation."""

    def __init__(
        self, faults: tuple[Fault, ...], clock: Clock, store: Store, *, seed: int, tenant: str
    ) -> None:
        self._clock, self._store, self._tenant = clock, store, tenant
        self._rules = [_FaultRule(i, fault, seed) for i, fault in enumerate(faults)]

    async def inject(self, stage: str, call: Call) -> None:
        """Apply every fault that fires at this checkpoint. Raises ArmError."""
        names = operation_names(stage, call)
        body = resource_body(call, self._store) if names else {}
        for rule in self._rules:
            if not rule.fires(names, call, vm_placement(body), self._clock.now()):
                continue
            fault = rule.fault
            if stage == "accepted":
                effects = call.request.effects
                effects.fault = rule.index
                effects.lost |= fault.lost
                effects.cut = effects.cut if fault.cut is None else fault.cut
                effects.garbled = fault.garbled or effects.garbled
            await self._clock.sleep(fault.slow)
            if fault.error is not None:
                raise self._error(fault.error, call)

    def _error(self, error: str | CustomError, call: Call) -> ArmError:
        template = AZURE_ERRORS[error] if isinstance(error, str) else _template(error)
        wait = template.retry_after
        hint = None if wait is None else self._clock.retry_after(wait)
        return template.render(template_values(call, self._store, self._tenant), hint)


class _FaultRule:
    """One fault, with the counters for `nth`, `times` and `probability`."""

    def __init__(self, index: int, fault: Fault, seed: int) -> None:
        self.index, self.fault, self._seed = index, fault, seed
        self._path = re.compile(fault.match, re.IGNORECASE)
        self._matched = self._fired = 0
        self._matched_by_resource: Counter[str] = Counter()

    def fires(
        self, names: frozenset[str], call: Call, vm: tuple[str, str | None, str], now: float
    ) -> bool:
        """Whether the fault fires. Every operation that matches counts towards `nth`."""
        if not self._matches(names, call, vm, now):
            return False
        self._matched += 1
        self._matched_by_resource[call.target.key] += 1
        fault = self.fault
        fired = (
            (not fault.nth or self._matched in fault.nth)
            and (fault.times is None or self._fired < fault.times)
            and self._draw(call) < fault.probability
        )
        self._fired += fired
        return fired

    def _matches(
        self, names: frozenset[str], call: Call, vm: tuple[str, str | None, str], now: float
    ) -> bool:
        fault, (location, zone, size) = self.fault, vm
        return (
            fault.on in names
            and bool(self._path.search(call.target.path))
            and fault.begin <= now < fault.until
            and fault.zone in (None, zone)
            and fault.location in (ANY, location)
            and fault.size.lower() in (ANY, size.lower())
        )

    def _draw(self, call: Call) -> float:
        """From 0 to 1. Seeded with the resource's own count, since request order varies."""
        name = call.target.name.lower()
        count = self._matched_by_resource[call.target.key]
        parts = (self._seed, "fault", self.index, name, count)
        return random.Random("/".join(map(str, parts))).random()  # noqa: S311 (a seed)


def _template(error: CustomError) -> ErrorTemplate:
    return replace(
        ErrorTemplate(error.code, error.status, error.message),
        retry_after=error.retry_after,
        details=error.details,
    )
