"""The plan's faults: which one strikes a passage, and what it does."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

from local.azure.arm.calls import Call
from local.azure.arm.errors import ArmError
from local.azure.arm.resources import Store
from local.azure.clock import Clock
from local.azure.faults.azure_errors import CATALOGUE
from local.azure.faults.error_template import Entry
from local.azure.faults.operation_names import names_of
from local.azure.faults.plan import ANY, ErrorGiven, Fault
from local.azure.faults.template_values import body_of, values, vm_facts


class Faults:
    """Carries the faults out, in the order of the document; the first error ends a passage."""

    def __init__(
        self, faults: tuple[Fault, ...], clock: Clock, store: Store, *, seed: int, tenant: str
    ) -> None:
        self._clock, self._store, self._tenant = clock, store, tenant
        self._strikers = [_Striker(i, fault, seed) for i, fault in enumerate(faults)]

    async def meet(self, phase: str, call: Call) -> None:
        """Let what strikes this passage strike. Raises ArmError."""
        names = names_of(phase, call)
        body = body_of(call, self._store) if names else {}
        for striker in self._strikers:
            if not striker.strikes(names, call, vm_facts(body), self._clock.now()):
                continue
            fault = striker.fault
            if phase == "accept":
                call.request.marks.fault = striker.index
                call.request.marks.lost |= fault.lost
            await self._clock.sleep(fault.slow)
            if fault.error is not None:
                raise self._error(fault.error, call)

    def _error(self, wanted: str | ErrorGiven, call: Call) -> ArmError:
        entry = CATALOGUE[wanted] if isinstance(wanted, str) else _entry(wanted)
        wait = entry.retry_after
        hint = None if wait is None else self._clock.retry_after(wait)
        return entry.error(values(call, self._store, self._tenant), hint)


class _Striker:
    """One fault, and how often it was met."""

    def __init__(self, index: int, fault: Fault, seed: int) -> None:
        self.index, self.fault, self._seed = index, fault, seed
        self._match = re.compile(fault.match, re.IGNORECASE)
        self._met = self._struck = 0
        self._met_by: Counter[str] = Counter()

    def strikes(
        self, names: frozenset[str], call: Call, vm: tuple[str, str | None, str], now: float
    ) -> bool:
        """Whether it strikes this passage. Every passage that it is about counts for `nth`."""
        if not self._is_about(names, call, vm, now):
            return False
        self._met += 1
        self._met_by[call.target.key] += 1
        fault = self.fault
        struck = (
            (not fault.nth or self._met in fault.nth)
            and (fault.times is None or self._struck < fault.times)
            and self._draw(call) < fault.probability
        )
        self._struck += struck
        return struck

    def _is_about(
        self, names: frozenset[str], call: Call, vm: tuple[str, str | None, str], now: float
    ) -> bool:
        fault, (location, zone, size) = self.fault, vm
        return (
            fault.on in names
            and bool(self._match.search(call.target.path))
            and fault.begin <= now < fault.until
            and fault.zone in (None, zone)
            and fault.location in (ANY, location)
            and fault.size.lower() in (ANY, size.lower())
        )

    def _draw(self, call: Call) -> float:
        """From 0 to 1. By the resource's own count: what else goes on at the time does not matter."""
        name = call.target.name.lower()
        parts = (self._seed, "fault", self.index, name, self._met_by[call.target.key])
        return random.Random("/".join(map(str, parts))).random()  # noqa: S311


def _entry(given: ErrorGiven) -> Entry:
    return replace(
        Entry(given.code, given.status, given.message),
        retry_after=given.retry_after,
        details=given.details,
    )
