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
from orchestrators.write_grants import ask_for_writes, granted_roles, may_write, share_pause

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
    sent: bool = False
    """Whether a wait has started it."""


@dataclass
class Waves:
    """The running waves of one history: a new one must wait for them (`drain`)."""

    context: Context
    fleet: FleetState
    cancel: Any
    running: list[Wave] = field(default_factory=list)

    def start_roles(self) -> Orchestration[None]:
        """Start a wave of role assignments, if none runs and any is due."""
        fleet, now = self.fleet, self.context.current_utc_datetime
        if self.cancel.is_completed or fleet.writes.paused_for(now) or self.assigning():
            return
        # A wave that runs may return VMs created at any time since it started.
        started = min((wave.started for wave in self._creating()), default=None)
        due = due_for_roles(fleet.vms_missing_roles(), now, created_before=started)
        due = yield from granted_roles(self.context, fleet, due[:FAN_OUT])
        if due:
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
        yield from share_pause(self.context, fleet)
        while room := self._room():
            retries = len(fleet.demand.retries) if fleet.can_retry() else 0
            placements = yield from self._placements(max(0, room - retries))
            count = min(room, retries + len(placements))
            if not count:
                break
            grant = yield from ask_for_writes(
                self.context, fleet, vms=count, least=min(count, self._smallest())
            )
            again = fleet.take_retries(grant["vms"])
            new = fleet.demand.request(placements[: grant["vms"] - len(again)])
            if requests := [*again, *new]:
                fleet.demand.in_flight += requests
                order = part_of(fleet.order, VmOrder)
                task: CreateWave = {"order": order, "requests": requests}
                self._start(create_wave, task, requests)
        return len(self.running) > before

    def wait(self, seconds: float) -> Orchestration[None]:
        """Wait until a wave ends or the fleet is cancelled, for up to `seconds`; then apply the results
        of the waves that have ended.

        Raises FleetEnded if a wave failed.
        """
        tasks = [self.cancel, *self._sent()]
        yield from wait_for_any(self.context, tasks, seconds)
        yield from self._collect()

    def drain(self) -> Orchestration[None]:
        """Wait for all running waves, also after a cancel: VMs must be known before they can be deleted.

        Raises FleetEnded if a wave failed.
        """
        while tasks := self._sent():
            yield from wait_for_any(self.context, tasks)
            yield from self._collect()

    def assigning(self) -> frozenset[int]:
        """Ordinals of the VMs whose roles a wave assigns now."""
        return frozenset().union(*(wave.assigns for wave in self.running))

    def _sent(self) -> list[Any]:
        """The tasks of the running waves, which the next wait starts. After a cancel, those that were
        not started before are dropped.
        """
        if self.cancel.is_completed:
            for wave in [one for one in self.running if not one.sent]:
                self.running.remove(wave)
                self._no_longer_in_flight(wave)
                if wave.requests:
                    self.fleet.demand.give_up("Cancelled", len(wave.requests))
        if not any(wave.task.is_completed for wave in self.running):  # otherwise nothing waits
            for wave in self.running:
                wave.sent = True
        return [wave.task for wave in self.running]

    def _no_longer_in_flight(self, wave: Wave) -> None:
        in_flight = self.fleet.demand.in_flight
        self.fleet.demand.in_flight = [one for one in in_flight if one not in wave.requests]

    def _creating(self) -> list[Wave]:
        return [wave for wave in self.running if wave.requests]

    def _limit(self) -> int:
        """How many VMs may be without a role."""
        return 1 if self.fleet.writes.outage_since else max(1, self.fleet.order["max_undead"])

    def _smallest(self) -> int:
        """The VMs of a wave that is worth starting while others run."""
        return min(-(-self._limit() // CREATING_AT_ONCE), FAN_OUT) if self._creating() else 1

    def _room(self) -> int:
        """How many VMs may be requested now; none while a larger wave is worth waiting for."""
        fleet = self.fleet
        if self.cancel.is_completed or not may_write(self.context, fleet):
            return 0
        without_role = len(fleet.vms_without_role()) + len(fleet.demand.in_flight)
        room = min(self._limit() - without_role, FAN_OUT)
        wanted = fleet.vms_wanted() + len(fleet.demand.retries)
        running = len(self._creating())
        is_worth_it = room >= min(self._smallest(), wanted) and running < CREATING_AT_ONCE
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
        fleet.observation.changed_at = now.isoformat()
        for vm in result["vms"]:
            new = new_vm(fleet.order, requested[vm["ordinal"]])
            fleet.accept({**new, "state": "creating", **vm})
        for refusal in result["refusals"]:
            fleet.refuse(refusal["request"], refusal["failure"], now)

    def _apply_roles(self, result: RolesAssigned) -> None:
        for vm in result["vms"]:
            merge_roles(self.fleet.vms[vm["ordinal"]], vm)
        pause_if_throttled(self.context, self.fleet)
