"""The waves of a fleet that run at the same time: which may start, and what has become of them.

Several waves create VMs at once, because each of them waits for its slowest VM. One wave at a time
assigns roles, in order of creation: a VM waits for its role until no running wave can still return a VM
that was created before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fleet.model import names
from fleet.model.activities import AssignWave, CreateWave, RolesAssigned, WaveResult
from fleet.model.order_parts import RoleOrder, VmOrder, part_of
from fleet.model.records import Placement, VmRequest, VmRoles, new_vm
from fleet.model.state import FleetState
from fleet.model.write_budget import WRITES_PER_CREATE, role_writes
from orchestrators import network
from orchestrators.patterns import (
    FAN_OUT,
    Context,
    FleetEnded,
    Orchestration,
    failure_of,
    wait_for_any,
)
from orchestrators.role_assignment_order import due_for_roles, merge_roles, pause_if_throttled
from orchestrators.wave import assign_wave, create_wave

CREATING_AT_ONCE = 4
"""Waves that create VMs."""


@dataclass
class Wave:
    """A child instance that runs."""

    task: Any
    started: datetime
    requests: Sequence[VmRequest] = ()
    """Empty if it assigns roles."""
    assigns: frozenset[int] = frozenset()
    """Ordinals of the VMs that get roles."""


@dataclass
class Waves:
    """The running waves of one history: a new one must wait for them (`drain`)."""

    context: Context
    fleet: FleetState
    cancel: Any
    running: list[Wave] = field(default_factory=list)

    def start_roles(self) -> None:
        """Start a wave of role assignments, if none runs and any is due."""
        fleet, now = self.fleet, self.context.current_utc_datetime
        if self.cancel.is_completed or fleet.writes.paused_for(now) or self.assigning():
            return
        # A wave that runs may return VMs created at any time since it started.
        started = min((wave.started for wave in self._creating()), default=None)
        each, rate = role_writes(fleet.order), fleet.order["writes_per_second"]
        due = due_for_roles(fleet.vms_missing_roles(), now, created_before=started)
        due = due[: min(FAN_OUT, fleet.writes.affords(each, rate, now))]
        if due:
            fleet.writes.spend(each * len(due), rate, now)
            task: AssignWave = {
                "order": part_of(fleet.order, RoleOrder),
                "vms": [part_of(vm, VmRoles) for vm in due],
            }
            self._start(assign_wave, task, assigns=frozenset(vm["ordinal"] for vm in due))

    def start_creates(self) -> Orchestration[bool]:
        """Start waves of VMs, within the limits of VMs without roles, of placements, and of writes.

        Returns whether any was started.
        """
        fleet, before = self.fleet, len(self.running)
        while count := self._room():
            retries = fleet.take_retries(count)
            placements = yield from self._placements(count - len(retries))
            requests = [*retries, *fleet.demand.request(placements)]
            if not requests:
                break
            fleet.demand.in_flight += requests
            now, rate = self.context.current_utc_datetime, fleet.order["writes_per_second"]
            writes = WRITES_PER_CREATE * len(requests)
            fleet.writes.spend(writes, rate, now, nics=len(requests))
            order = part_of(fleet.order, VmOrder)
            task: CreateWave = {"order": order, "requests": requests}
            self._start(create_wave, task, requests)
        if self.cancel.is_completed:
            self._discard(self.running[before:])
        return len(self.running) > before

    def wait(self, seconds: float) -> Orchestration[None]:
        """Wait until a wave ends or the fleet is cancelled, for up to `seconds`; then apply the results
        of the waves that have ended.

        Raises FleetEnded if a wave failed.
        """
        tasks = [self.cancel, *(wave.task for wave in self.running)]
        yield from wait_for_any(self.context, tasks, seconds)
        yield from self._collect()

    def drain(self) -> Orchestration[None]:
        """Wait for all running waves, also after a cancel: VMs must be known before they can be deleted.

        Raises FleetEnded if a wave failed.
        """
        while self.running:
            yield from wait_for_any(self.context, [wave.task for wave in self.running])
            yield from self._collect()

    def assigning(self) -> frozenset[int]:
        """Ordinals of the VMs whose roles a wave assigns now."""
        return frozenset().union(*(wave.assigns for wave in self.running))

    def _discard(self, unsent: Sequence[Wave]) -> None:
        """The fleet was cancelled after these waves were made, and before a `yield` started them."""
        for wave in unsent:
            self.running.remove(wave)
            self._no_longer_in_flight(wave)
            self.fleet.demand.give_up("Cancelled", len(wave.requests))

    def _no_longer_in_flight(self, wave: Wave) -> None:
        in_flight = self.fleet.demand.in_flight
        self.fleet.demand.in_flight = [one for one in in_flight if one not in wave.requests]

    def _creating(self) -> list[Wave]:
        return [wave for wave in self.running if wave.requests]

    def _room(self) -> int:
        """How many VMs may be requested now; none while a larger wave is worth waiting for."""
        fleet, now = self.fleet, self.context.current_utc_datetime
        if self.cancel.is_completed or fleet.writes.paused_for(now):
            return 0
        limit = 1 if fleet.writes.outage_since else fleet.order["max_undead"]
        rate = fleet.order["writes_per_second"]
        without_role = len(fleet.vms_without_role()) + len(fleet.demand.in_flight)
        room = min(
            max(1, limit) - without_role,
            fleet.writes.affords(WRITES_PER_CREATE, rate, now),
            fleet.writes.affords_nics(rate, now),
            FAN_OUT,
        )
        running = len(self._creating())
        smallest = min(-(-limit // CREATING_AT_ONCE), FAN_OUT) if running else 1
        wanted = fleet.vms_wanted() + len(fleet.demand.retries)
        is_worth_it = room >= min(smallest, wanted) and running < CREATING_AT_ONCE
        return room if is_worth_it and room > 0 else 0

    def _placements(self, count: int) -> Orchestration[Sequence[Placement]]:
        """Placements for up to `count` VMs, in locations that have a network."""
        placements: Sequence[Placement] = self.fleet.placements_for(
            count, self.context.current_utc_datetime
        )
        for location in dict.fromkeys(placement["location"] for placement in placements):
            try:
                reason = yield from network.provision(
                    self.context, self.fleet, self.cancel, location
                )
            except FleetEnded:
                return []  # cancelled
            if reason is not None:
                placements = [one for one in placements if one["location"] != location]
                network.exclude(self.context, self.fleet, location, reason)
        return placements

    def _start(
        self,
        orchestrator: Any,
        task: Mapping[str, Any],
        requests: Sequence[VmRequest] = (),
        assigns: frozenset[int] = frozenset(),
    ) -> None:
        fleet = self.fleet
        fleet.waves += 1
        name = names.wave_id(fleet.order["batch_id"], fleet.waves)
        child = self.context.call_sub_orchestrator(orchestrator, task, name, expected_type=dict)
        self.running.append(Wave(child, self.context.current_utc_datetime, requests, assigns))

    def _collect(self) -> Orchestration[None]:
        for wave in [one for one in self.running if one.task.is_completed]:
            self.running.remove(wave)
            self._no_longer_in_flight(wave)
            try:
                result = yield wave.task  # raises what the child raised
            except Exception as error:
                reason = failure_of(error)
                self.fleet.demand.give_up(reason["code"], len(wave.requests))
                raise FleetEnded("failed", reason) from error
            if wave.requests:
                self._apply_creates(wave.requests, result)
            else:
                self._apply_roles(result)

    def _apply_creates(self, requests: Sequence[VmRequest], result: WaveResult) -> None:
        fleet, now = self.fleet, self.context.current_utc_datetime
        requested = {one["ordinal"]: one for one in requests}
        for vm in result["vms"]:
            new = new_vm(fleet.order, requested[vm["ordinal"]])
            fleet.accept({**new, "state": "creating", **vm})
        for refusal in result["refusals"]:
            fleet.refuse(refusal["request"], refusal["failure"], now)

    def _apply_roles(self, result: RolesAssigned) -> None:
        for vm in result["vms"]:
            merge_roles(self.fleet.vms[vm["ordinal"]], vm)
        pause_if_throttled(self.context, self.fleet)
