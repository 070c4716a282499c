"""The state of a fleet, which its orchestrator passes from one durable history to the next."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeVar, cast

from fleet.model import costs, failure_policy
from fleet.model.demand import MAX_ATTEMPTS, Demand, open_trials, useful_vms, vms_due
from fleet.model.experiment_errors import ENDED_FLEET, experiment_failure
from fleet.model.failure_counts import FailureCounts
from fleet.model.observation import LIVING, Changes, Observation, is_living
from fleet.model.placement import PlacementHistory, alternatives, choose, share_cause
from fleet.model.records import (
    ExperimentError,
    Failure,
    Order,
    Placement,
    State,
    Trials,
    Vm,
    VmRequest,
    lifecycle,
    new_vm,
)
from fleet.model.vm_list import restored, shortened
from fleet.model.write_budget import WriteBudget

TERMINAL = frozenset({"done", "cancelled", "failed"})
ENDING = TERMINAL | {"teardown"}
UNREPORTED_WAIT = 60.0
"""Seconds. Shorter waits are the normal pace of a large fleet."""

T = TypeVar("T")


class ExperimentFailure(NamedTuple):
    """The consequences of an error that other VMs would meet as well."""

    reason: Failure
    doomed: list[int]
    """Ordinals of the VMs that would fail as well."""
    ends_fleet: bool


@dataclass
class FleetState:
    """Everything that the next step depends on. Pure: no clock and no I/O; the time is an argument."""

    order: Order
    version: str | None = None
    """Of the orchestrators when the fleet's instance was started."""
    phase: str = "plan"
    vms: dict[int, Vm] = field(default_factory=dict)
    """By ordinal."""
    demand: Demand = field(default_factory=Demand)
    placements: PlacementHistory = field(default_factory=PlacementHistory)
    writes: WriteBudget = field(default_factory=WriteBudget)
    observation: Observation = field(default_factory=Observation)
    failures: FailureCounts = field(default_factory=FailureCounts)
    warnings: list[str] = field(default_factory=list)
    waves: int = 0
    networks: list[str] = field(default_factory=list)
    """Locations whose virtual network exists."""
    trials: Trials | None = None
    snapshot_at: str | None = None
    """When the last snapshot was attempted, ISO 8601; and whether it succeeded."""
    snapshot_ok: bool = True
    provisioned_at: str | None = None
    trials_ended_at: str | None = None
    reason: Failure | None = None
    ended_in: str | None = None
    """The phase in which the fleet failed or was cancelled."""
    drained: Failure | None = None
    """Why no VM starts another trial; None while they do."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> FleetState:
        """From an orchestration's input: an order alone at first, later the result of `write`."""
        if "order" not in document:
            order = cast(Order, dict(document))
            return cls(order, demand=Demand(unrequested=order["n_instances"]))
        state = _read(cls, document)
        for name, kind in _PARTS.items():
            setattr(state, name, _read(kind, document.get(name, {})))
        state.vms = {vm["ordinal"]: vm for vm in restored(state.order, document)}
        return state

    def write(self) -> Mapping[str, Any]:
        """As JSON, for `continue_as_new`. The API reads the VMs."""
        parts = {name: vars(getattr(self, name)) for name in _PARTS}
        state = {name: value for name, value in vars(self).items() if name != "vms"}
        return {**state, **parts, **shortened(self.order, self.vms.values())}

    # Demand

    def vms_wanted(self) -> int:
        waiting, living = self.observation.waiting_trials, self.living_vms()
        return self.demand.wanted(self.trials, useful_vms(waiting, self.trials, living))

    def is_short(self) -> bool:
        """Whether VMs are missing that there are trials for."""
        missing = bool(self.demand.given_up or self.demand.retries)
        return self.vms_wanted() > 0 or (missing and self.has_open_trials())

    def has_open_trials(self) -> bool:
        """Assumed while the trials were never counted."""
        return self.trials is None or open_trials(self.trials) > 0

    def placements_for(self, count: int, now: datetime) -> list[Placement]:
        """Placements for up to `count` of the wanted VMs; empty if none can be requested now."""
        count = min(count, self.vms_wanted(), self._requests_left())
        if self.demand.stopped or count <= 0:
            return []
        present = self.living_vms()
        present += [
            {**new_vm(self.order, request), "state": "creating"}
            for request in self.demand.in_flight
        ]
        cooldowns, waiting = self.placements.cooldowns, self.observation.waiting_trials
        regular, most = vms_due(waiting, self.trials, present)
        regular = min(count, regular)
        chosen = choose(self.order, cooldowns, present, regular, now, only_regular=True)
        rest = min(count - len(chosen), most)
        others = choose(self.order, cooldowns, present, rest, now)
        return self._pilots_first([*chosen, *others])

    def can_retry(self) -> bool:
        return bool(self.demand.retries) and not self.demand.stopped and self.has_open_trials()

    def take_retries(self, count: int) -> list[VmRequest]:
        return self.demand.take_retries(count) if self.can_retry() else []

    def retry_budget_is_spent(self) -> bool:
        return self._requests_left() <= 0

    def _requests_left(self) -> int:
        return self.demand.requests_left(self.order["n_instances"])

    def _pilots_first(self, placements: Iterable[Placement]) -> list[Placement]:
        """Without those that wait for a pilot: where no VM was tried yet, one goes first, so that a
        refusal costs one request.
        """
        piloted = [request["placement"] for request in self.demand.in_flight]
        sent = []
        for placement in placements:
            if placement in self.placements.tried or placement not in piloted:
                piloted.append(placement)
                sent.append(placement)
        return sent

    # The outcome of a create

    def accept(self, vm: Vm) -> None:
        """Azure accepted a VM, or it got a role."""
        if vm["ordinal"] not in self.vms:
            self.placements.count_accepted(vm["placement"])
            self.writes.end_outage(vm["created_at"])
        self.vms[vm["ordinal"]] = vm

    def refuse(self, request: VmRequest, failure: Failure, now: datetime) -> None:
        """Azure did not accept a VM. If it throttles or has an outage, the VM is retried later."""
        throttled = failure_policy.is_throttled(failure)
        if throttled or (
            failure_policy.is_outage(failure) and not self.writes.outage_timed_out(now)
        ):
            self.demand.retries.append({"request": request, "code": failure["code"]})
            wait = failure["retry_after"] or self.writes.outage_backoff(now)
            until = now + timedelta(seconds=wait)
            if not throttled:
                self.writes.pause_until(until)
                self.failures.add(failure, "retried later")
                return
            self.writes.throttled_until(until)
            if wait > UNREPORTED_WAIT:
                self.failures.add(failure, "waited as long as Azure asked")
            return
        self.placements.mark_tried(request["placement"])
        self.vms[request["ordinal"]] = new_vm(self.order, request)
        self.fail_vm(request["ordinal"], failure, now)

    def fail_vm(self, ordinal: int, failure: Failure, now: datetime, *, ran: bool = False) -> None:
        """Record why a VM failed, and replace it where that may help.

        Failures that the fleet could not foresee do not count against the retry budget: those of VMs
        that `ran`, and the first in a placement that was open until then.
        """
        vm, code, sizes = self.vms[ordinal], failure["code"], self.order["sizes"]
        if failure_policy.is_unclear(failure) and self._has_run_in(vm["placement"]):
            failure = {**failure, "scope": ""}  # the placement is not the cause
        free = ran or self.placements.is_surprise(vm, failure, sizes, now)
        self.demand.failed_attempts += 0 if free else 1
        self.placements.count_failed(vm["placement"], code)
        self.placements.close(vm["placement"], failure, sizes, now)
        if self._stops_fleet(failure):
            self.demand.stopped = self.demand.stopped or failure
        attempt = 1 if ran else vm["attempt"] + (0 if free else 1)
        final = failure_policy.is_final_for_vm(failure, self._code_of(vm["replaces"]))
        if self.demand.stopped or attempt > MAX_ATTEMPTS or final:
            self.demand.give_up(code)
            action = failure_policy.GAVE_UP
        else:
            self.demand.replacements.append({"replaces": ordinal, "attempt": attempt, "code": code})
            action = failure_policy.replacement_text(failure, alternatives(self.order))
        _end(vm, failure, action, now)
        self.failures.add(failure, action)

    def _stops_fleet(self, failure: Failure) -> bool:
        return failure_policy.stops_fleet(
            failure,
            count=self.failures.count(failure["code"]) + 1,
            probes=self.demand.failed_attempts,
            any_vm_exists=bool(self.living_vms()),
            any_vm_has_run=self.count("running", "deleted") > 0,
        )

    def _has_run_in(self, placement: Placement) -> bool:
        return any(
            vm["placement"] == placement
            for vm in self.vms.values()
            if vm["state"] in ("running", "deleted")
        )

    def _code_of(self, ordinal: int | None) -> str | None:
        """The code that a VM failed with."""
        vm = None if ordinal is None else self.vms.get(ordinal)
        return vm["ended"]["code"] if vm and vm["ended"] else None

    def fail_vm_of_experiment(
        self, error: ExperimentError, at_work: Container[int], now: datetime
    ) -> ExperimentFailure | None:
        """Record an error that other VMs of the same kind would meet as well; None if it is recorded.

        VMs that have started a trial (`at_work`) disprove it for their kind: then no more VMs of the
        kind are created, and the others go on.
        """
        vm = self.vms.get(error["ordinal"])
        if vm is None or vm["ended"] is not None:
            return None
        reason = experiment_failure(vm["name"], error)
        if is_living(vm):
            self.mark_deleting([vm["ordinal"]])
        self.fail_vm(vm["ordinal"], reason, now, ran=True)
        sizes, cooldowns = self.order["sizes"], self.placements.cooldowns
        same = [
            one
            for one in self.vms.values()
            if share_cause(one["placement"], vm["placement"], reason, sizes)
        ]
        if any(one["ordinal"] in at_work for one in same):
            return ExperimentFailure(reason, [], ends_fleet=False)
        is_over = bool(self.demand.stopped) or not choose(self.order, cooldowns, [], 1, now)
        if is_over:
            _end(vm, reason, ENDED_FLEET, now)
            self.failures.by_code[reason["code"]]["action"] = ENDED_FLEET
        doomed = [one["ordinal"] for one in same if is_living(one)]
        return ExperimentFailure(reason, doomed, ends_fleet=is_over)

    def end_idle_vms(self, ordinals: Sequence[int], reason: Failure, now: datetime) -> None:
        """Record VMs without work that the fleet deletes: they did not fail, and are not replaced."""
        for ordinal in ordinals:
            _end(self.vms[ordinal], reason, "deleted it", now)
        self.mark_deleting(ordinals, "deleted")

    # The VMs

    def count(self, *states: str) -> int:
        return sum([vm["state"] in states for vm in self.vms.values()])

    def count_role_assigned(self) -> int:
        """VMs that can delete themselves: they have their first role."""
        return sum([0 in vm["assigned"] for vm in self.vms.values()])

    def living_vms(self) -> list[Vm]:
        return [vm for vm in self.vms.values() if vm["state"] in LIVING]

    def vms_without_role(self) -> list[Vm]:
        """Living VMs that cannot delete themselves yet; `max_undead` limits their number."""
        return [vm for vm in self.vms.values() if 0 not in vm["assigned"] and is_living(vm)]

    def vms_missing_roles(self) -> list[Vm]:
        """Living VMs that still lack any role."""
        return [vm for vm in self.vms.values() if not vm["roles_settled"] and is_living(vm)]

    def unrecorded_vms(self) -> list[Vm]:
        """VMs whose lifecycle has changed since the database recorded it."""
        return [vm for vm in self.vms.values() if vm["recorded"] != lifecycle(vm)]

    def apply_list(
        self,
        states: Mapping[str, Iterable[int]],
        identities: Mapping[str, tuple[str | None, str]],
        now: datetime,
        age: float = 0.0,
    ) -> Changes:
        """Update the VMs from a LIST that began `age` seconds ago: ordinals by provisioning state, and
        the principal id and creation time of VMs whose identity was unknown.
        """
        self.observation.looked_at = now.isoformat()
        self.observation.listed_at = (now - timedelta(seconds=age)).isoformat()
        for ordinal, (principal_id, created_at) in identities.items():
            if vm := self.vms.get(int(ordinal)):
                vm["principal_id"], vm["created_at"] = principal_id, created_at
        retried = [one["request"] for one in self.demand.retries]
        pending = {one["ordinal"] for one in (*retried, *self.demand.in_flight)}
        changes = self.observation.apply_list(self.vms, states, pending)
        self.placements.reopen(changes.started, self.order["sizes"])
        return changes

    def mark_deleting(self, ordinals: Iterable[int], state: State = "failed") -> None:
        """Mark VMs as abandoned: their deletion was requested."""
        for ordinal in ordinals:
            self.vms[ordinal]["state"] = state
            self.observation.deleting.append(ordinal)

    def spending(self, now: datetime) -> costs.Spending | None:
        """None without VMs, and if a price is unknown."""
        hours = costs.vm_hours(self.vms.values(), now, self.demand.in_flight)
        return costs.spending(hours, self.order.get("prices", {}))

    def cost_step(self, now: datetime, poll_seconds: float = 0.0) -> Literal["run", "drain", "end"]:
        """What `max_cost` requires now. `poll_seconds`: until the next look, if that is longer than
        usual.
        """
        limit = self.order.get("max_cost")
        spent = None if limit is None else self.spending(now)
        if limit is None or spent is None:
            return "run"
        interval = max(self.order["run_poll_seconds"], poll_seconds)
        return costs.next_step(spent, limit, interval)

    def past_deadline(self, now: datetime) -> bool:
        return "deadline" in self.order and now >= datetime.fromisoformat(self.order["deadline"])


_PARTS: Mapping[str, type[Any]] = {
    "demand": Demand,
    "placements": PlacementHistory,
    "writes": WriteBudget,
    "observation": Observation,
    "failures": FailureCounts,
}


def _end(vm: Vm, reason: Failure, action: str, now: datetime) -> None:
    vm["ended"] = {"code": reason["code"], "message": reason["message"], "next": action}
    vm["ended_at"] = now.isoformat()


def _read(kind: type[T], document: Mapping[str, Any]) -> T:
    """A dataclass without unknown members: another release may have written them."""
    known = {member.name for member in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in document.items() if name in known})
