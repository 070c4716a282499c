"""A fleet while it runs: what its orchestrator knows, carried from one durable history to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from fleet.model import failure_policy, names
from fleet.model.placement import Block, block, covering, label, lifted, remember
from fleet.model.records import (
    Failure,
    Machine,
    Opening,
    Order,
    Placement,
    Postponed,
    Prepared,
    Trials,
    VmRequest,
    not_accepted,
)

SHOWN_CHARACTERS = 240
"""Of a failure's message: the custom status holds some of them, and must stay below 16 KB."""

TERMINAL = frozenset({"done", "cancelled", "failed"})

ATTEMPTS = 8
"""VMs asked for in vain in the stead of one, itself included."""
MARGIN = 10
"""Failures of a fleet that we pay for, above one for each VM."""
OUTAGE = timedelta(minutes=15)
"""How long Azure may have faults before the VMs that it was asked for are given up."""
BURST = 180
"""Writes that Azure takes at once: of its bucket of 200 the rest is left to others."""
SILENT_COUNTS = 10
"""Counts, minutes apart from the first to the last: as long as VMs have to be heard again once the
database is back."""

_NEW_MACHINE = {"assigned": [], "settled": False, "refusal": None, "tries": 0, "next_try": None,
                "replaces": None, "attempt": 1, "ended": None, "role_assigned_at": None,
                "running_at": None, "ended_at": None, "deleted_at": None, "noted": ""}  # fmt: skip
_UP = ("Succeeded", "Updating", "Deleting")


class Seen(NamedTuple):
    """What one look tells, as ordinals."""

    failed: list[int]
    """Accepted, and then not brought up."""
    vanished: list[int]
    """Gone before they ran."""
    unwanted: list[int]
    """There, though we know nothing of them or have given them up."""


@dataclass
class FleetState:
    """Everything that decides what comes next. Pure: no clock, no I/O; times are handed in.

    Each of the `n_instances` VMs asked for is a living VM, one that has ended, an opening, one to be
    asked for `again`, one given up, or one that was never asked for (`fresh`).
    """

    order: Order
    version: str | None = None
    """Of the orchestrators that its instance began with."""
    phase: str = "plan"
    fresh: int = 0
    openings: list[Opening] = field(default_factory=list)
    again: list[Postponed] = field(default_factory=list)
    given_up: dict[str, int] = field(default_factory=dict)
    """VMs that nothing stands in for, by the code of their last failure."""
    next_ordinal: int = 0
    waves: int = 0
    in_vain: int = 0
    """Failures that a wiser fleet would not have had: see `_is_news`."""
    outage_since: str | None = None
    """Since when Azure has had faults, and has taken no VM; ISO 8601."""
    looked_at: str | None = None
    """The last LIST that succeeded, ISO 8601."""
    blind_until: str | None = None
    """Until then Azure wants to be asked for no LIST, ISO 8601."""
    prepared: list[Prepared] = field(default_factory=list)
    machines: dict[int, Machine] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)
    """Locations whose network is there."""
    blocks: list[Block] = field(default_factory=list)
    tried: list[Placement] = field(default_factory=list)
    """Where Azure has taken or refused a VM of the fleet."""
    tallies: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By place: VMs accepted, and failures by code."""
    stopped: Failure | None = None
    """Why no more VMs are asked for."""
    not_before: str | None = None
    """Until then Azure wants no more writes, ISO 8601."""
    spent: float = 0.0
    spent_at: str | None = None
    """Writes that Azure still counts, and when that was."""
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By code: count, message, advice, and what we did."""
    warnings: list[str] = field(default_factory=list)
    trials: Trials | None = None
    counted_at: str | None = None
    """When the trials were last to be counted, ISO 8601."""
    counted: bool = True
    """Whether they were, and the VMs noted."""
    silent: dict[str, int] = field(default_factory=dict)
    """VMs that give no sign of life, by ordinal: how many counts in a row have found them so."""
    done: list[int] = field(default_factory=list)
    """Ordinals of VMs whose script has ended, and which could not delete themselves."""
    provisioned_at: str | None = None
    trials_ended_at: str | None = None
    reason: Failure | None = None
    missing: list[int] = field(default_factory=list)
    """Ordinals that the last look did not show: gone when the next does not show them either."""
    deleting: list[int] = field(default_factory=list)
    """Ordinals that were given up, and may still be there."""
    unreleased: list[int] = field(default_factory=list)
    """Ordinals that are gone, whose roles are not yet taken back."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> FleetState:
        """From an orchestration's input: an order alone at first, then what `write` made."""
        if "order" not in document:
            order = cast(Order, dict(document))
            return cls(order, fresh=order["n_instances"])
        # Tolerant: the state may have been written by the release before, or the one after.
        known = {field.name for field in fields(cls)}
        state = {name: value for name, value in document.items() if name in known}
        machines = {one["ordinal"]: {**_NEW_MACHINE, **one} for one in document["machines"]}
        return cls(**{**state, "machines": machines})

    def write(self) -> dict[str, Any]:
        """As JSON, for `continue_as_new`."""
        return {**vars(self), "machines": list(self.machines.values())}

    # Asking for VMs

    def deficit(self) -> int:
        """VMs that are wanted and neither live nor have lived; none for whom no trial would be left."""
        wanted = len(self.openings) + self.fresh
        if self.trials is None:
            return wanted
        open_trials = self.trials["ready"] + self.trials["running"]
        return max(0, min(wanted, open_trials - len(self.living()) - len(self.again)))

    def is_short(self) -> bool:
        """Whether VMs are missing that trials are open for."""
        return self.deficit() > 0 or (bool(self.given_up or self.again) and self.trials_left())

    def budget(self) -> int:
        """How many more VMs may be asked for at all, whatever happens to them."""
        failures = self.order["n_instances"] + MARGIN - self.in_vain
        return max(0, min(failures, names.ORDINALS - self.next_ordinal))

    def resend(self, room: int) -> list[VmRequest]:
        """Of the VMs that Azure had no ear for, as many as there is room for."""
        if self.stopped or not self.trials_left():
            return []
        taken, self.again = self.again[:room], self.again[room:]
        return [one["assignment"] for one in taken]

    def assign(self, placements: Iterable[Placement]) -> list[VmRequest]:
        """One VM for each place: openings first. Their ordinals are taken for good."""
        assignments: list[VmRequest] = []
        for placement in placements:
            opening = self.openings.pop(0) if self.openings else None
            if opening is None:
                self.fresh -= 1
            assignments.append(
                {
                    "ordinal": self._ordinal(placement["location"]),
                    "placement": placement,
                    "replaces": opening and opening["replaces"],
                    "attempt": opening["attempt"] if opening else 1,
                }
            )
        return assignments

    def _ordinal(self, location: str) -> int:
        for one in self.prepared:
            if one["location"] == location:
                self.prepared.remove(one)
                return one["ordinal"]
        self.next_ordinal += 1
        return self.next_ordinal - 1

    def take_back(self, assignment: VmRequest, *, has_nic: bool) -> None:
        """An assignment that was not sent: its VM is asked for again, in whatever place."""
        self._reopen(assignment)
        location = assignment["placement"]["location"]
        self.prepared.append(
            {"ordinal": assignment["ordinal"], "location": location, "made": has_nic}
        )

    def _reopen(self, assignment: VmRequest) -> None:
        replaced = assignment["replaces"]
        if replaced is None:
            self.fresh += 1
        else:
            code = (self.machines[replaced]["ended"] or {}).get("code", "")
            self.openings.append(
                {"replaces": replaced, "attempt": assignment["attempt"], "code": code}
            )

    def with_nic(self) -> set[int]:
        """Ordinals whose NIC is there, and whose VM was not asked for."""
        return {one["ordinal"] for one in self.prepared if one["made"]}

    def to_prepare(self, location: str, count: int) -> list[Prepared]:
        """New ordinals for the VMs that come next in a location; taken, as if they had no NIC yet."""
        there = sum(one["location"] == location for one in self.prepared)
        count = max(0, min(count - there, self.deficit() - there, self.budget()))
        first, self.next_ordinal = self.next_ordinal, self.next_ordinal + count
        new: list[Prepared] = [
            {"ordinal": ordinal, "location": location, "made": False}
            for ordinal in range(first, first + count)
        ]
        self.prepared += new
        return new

    def accept(self, machine: Machine) -> None:
        """Azure has a VM, or has told something new of it."""
        if machine["ordinal"] not in self.machines:
            self._tally(machine["placement"])["accepted"] += 1
            self._try(machine["placement"])
            self.outage_since = None
        self.machines[machine["ordinal"]] = machine

    def refuse(self, assignment: VmRequest, failure: Failure, now: datetime) -> None:
        """Azure did not accept a VM. Throttling, and Azure's own faults, are no failure of the VM."""
        throttled = failure_policy.is_throttled(failure)
        fault = failure_policy.is_azure_fault(failure)
        if throttled or (fault and not self._is_outlasted(now)):
            self.again.append({"assignment": assignment, "code": failure["code"]})
            wait = failure["retry_after"] or self._pause(now)
            self.hold(now + timedelta(seconds=wait))
            did = "waited as long as Azure said" if throttled else "asked again later"
            self.note(failure, did)
            return
        self._try(assignment["placement"])
        self.machines[assignment["ordinal"]] = not_accepted(self.order, assignment)
        self.fail(assignment["ordinal"], failure, now)

    def _is_outlasted(self, now: datetime) -> bool:
        """Whether Azure's faults have gone on for OUTAGE; they begin now if they had not yet."""
        self.outage_since = self.outage_since or now.isoformat()
        return now - datetime.fromisoformat(self.outage_since) > OUTAGE

    def _pause(self, now: datetime) -> float:
        """Seconds to wait while Azure has faults: the longer they go on, up to a minute."""
        since = datetime.fromisoformat(self.outage_since or now.isoformat())
        return min(60.0, max(10.0, (now - since).total_seconds()))

    def _try(self, placement: Placement) -> None:
        if placement not in self.tried:
            self.tried.append(placement)

    def fail(self, ordinal: int, failure: Failure, now: datetime, *, ran: bool = False) -> None:
        """A VM has failed: remember why and what follows, and open its place in the fleet again where
        another may do better. One that `ran` has served, and counts against no budget.
        """
        machine = self.machines[ordinal]
        code = failure["code"]
        codes = self._tally(machine["placement"])["failed"]
        codes[code] = codes.get(code, 0) + 1
        cost = 0 if ran or self._is_news(machine, failure, now) else 1
        self.in_vain += cost
        self._close(machine["placement"], failure, now)
        count = self.failures.get(code, {"count": 0})["count"] + 1
        policy = failure_policy.of(failure)
        repeated = count >= failure_policy.REPEATS_THAT_STOP and failure_policy.repeats_elsewhere(
            failure, any_vm_has_run=self.count("running", "deleted") > 0
        )
        if policy.ends_fleet or repeated:
            self.stopped = self.stopped or failure
        attempt = 1 if ran else machine["attempt"] + cost
        final = failure_policy.is_final_for_vm(failure, self._previous_code(machine))
        if self.stopped or attempt > ATTEMPTS or final:
            self.given_up[code] = self.given_up.get(code, 0) + 1
            did = failure_policy.GAVE_UP
        else:
            self.openings.append({"replaces": ordinal, "attempt": attempt, "code": code})
            did = policy.outcome
        machine["ended"] = {"code": code, "message": failure["message"], "next": did}
        machine["ended_at"] = now.isoformat()
        self.note(failure, did)

    def _is_news(self, machine: Machine, failure: Failure, now: datetime) -> bool:
        """Whether nothing had told us that this place is closed when the VM was asked for."""
        if not failure_policy.closes_placement(failure):
            return False
        held = covering(machine["placement"], self.blocks, self.order["sizes"], now)
        told = [one["since"] for one in held if one["code"] == failure["code"]]
        made = machine["created_at"]
        return not any(
            not made or datetime.fromisoformat(made) > datetime.fromisoformat(since)
            for since in told
        )

    def _close(self, placement: Placement, failure: Failure, now: datetime) -> None:
        """Where a failure holds for others too, none goes there for a while; then one goes first."""
        if failure["scope"]:
            new = block(placement, failure, self.order["sizes"], now)
            self.blocks = remember(self.blocks, new)
            sizes = self.order["sizes"]
            self.tried = [one for one in self.tried if not covering(one, [new], sizes, now)]

    def _previous_code(self, machine: Machine) -> str | None:
        """What the VM that this one replaced failed with."""
        before = self.machines.get(-1 if machine["replaces"] is None else machine["replaces"])
        return before["ended"]["code"] if before and before["ended"] else None

    def _tally(self, placement: Placement) -> dict[str, Any]:
        return self.tallies.setdefault(label(placement), {"accepted": 0, "failed": {}})

    # Azure's pace

    def hold(self, until: datetime) -> None:
        """Azure wants no writes of the fleet until then."""
        if self.not_before is None or until > datetime.fromisoformat(self.not_before):
            self.not_before = until.isoformat()

    def is_held(self, now: datetime) -> bool:
        return self.held_for(now) > 0

    def held_for(self, now: datetime) -> float:
        """Seconds for which Azure wants no writes."""
        if self.not_before is None:
            return 0.0
        return max(0.0, (datetime.fromisoformat(self.not_before) - now).total_seconds())

    def spend(self, writes: int, now: datetime) -> float:
        """Count writes; returns the seconds to wait before they fit into Azure's bucket."""
        rate, at = self.order["writes_per_second"], self.spent_at
        passed = (now - datetime.fromisoformat(at)).total_seconds() if at else 0.0
        self.spent = max(0.0, self.spent - passed * rate) + writes
        self.spent_at = now.isoformat()
        return max(0.0, (self.spent - BURST) / rate)

    def writes_per_vm(self) -> int:
        """NIC, VM, and its role assignments."""
        clients = 1 if self.order["client_principal_id"] else 0
        return 3 + len(self.order["resource_uris"]) + clients

    # What there is

    def count(self, *states: str) -> int:
        return sum(machine["state"] in states for machine in self.machines.values())

    def role_assigned(self) -> int:
        """VMs that can delete themselves: their first grant stands."""
        return sum(0 in machine["assigned"] for machine in self.machines.values())

    def living(self) -> list[Machine]:
        return [m for m in self.machines.values() if m["state"] in ("creating", "running")]

    def undead(self) -> list[Machine]:
        """Living VMs that cannot delete themselves yet: these, and no others, fill the window."""
        return [machine for machine in self.living() if 0 not in machine["assigned"]]

    def unsettled(self) -> list[Machine]:
        """Living VMs that still lack a role, be it another's at the VM or their own elsewhere."""
        return [machine for machine in self.living() if not machine["settled"]]

    def unknown(self) -> list[int]:
        """Ordinals of VMs whose identity Azure has not told us yet."""
        return [m["ordinal"] for m in self.living() if m["principal_id"] is None]

    def note(self, failure: Failure, did: str) -> None:
        """Count a failure under its code, with the latest words and what we did about it."""
        group = self.failures.setdefault(failure["code"], {"count": 0})
        group |= {
            "count": group["count"] + 1,
            "message": failure["message"][:SHOWN_CHARACTERS],
            "action": did,
            "advice": failure["advice"],
        }

    def see(self, states: Mapping[str, Iterable[int]], identities: Mapping[str, Any]) -> Seen:
        """Take in one LIST, of the moment `looked_at`.

        A VM counts as gone when two looks in a row do not show it: a list may lag behind a PUT.
        """
        shown = {ordinal: state for state, some in states.items() for ordinal in some}
        for key, (principal_id, created_at) in identities.items():
            if int(key) in self.machines:
                machine = self.machines[int(key)]
                machine["principal_id"], machine["created_at"] = principal_id, created_at
        # One that runs may be shown as failed too: an update of it did, not the VM.
        creating = [machine for machine in self.living() if machine["state"] == "creating"]
        failed = [m["ordinal"] for m in creating if shown.get(m["ordinal"]) == "Failed"]
        up = [machine for machine in creating if shown.get(machine["ordinal"]) in _UP]
        for machine in up:
            machine["state"], machine["running_at"] = "running", self.looked_at
        self.blocks = lifted(self.blocks, up, self.order["sizes"])
        vanished = self._see_absent(set(shown))
        unwanted = [
            ordinal
            for ordinal, state in shown.items()
            if state != "Deleting" and not self._is_wanted(ordinal)
        ]
        return Seen(failed, vanished, unwanted)

    def _is_wanted(self, ordinal: int) -> bool:
        """Not so: a VM whose PUT was refused, and which is there all the same. One whose PUT nobody
        answered is: it is asked for again.
        """
        if any(one["assignment"]["ordinal"] == ordinal for one in self.again):
            return True
        machine = self.machines.get(ordinal)
        return machine is not None and machine["state"] in ("creating", "running")

    def _see_absent(self, shown: set[int]) -> list[int]:
        """Returns those that are gone now and never ran."""
        watched = [*(machine["ordinal"] for machine in self.living()), *self.deleting]
        absent = [ordinal for ordinal in watched if ordinal not in shown]
        vanished = []
        for ordinal in absent:
            if ordinal not in self.missing:
                continue
            machine = self.machines[ordinal]
            if ordinal in self.deleting:
                self.deleting.remove(ordinal)
            else:
                if machine["state"] == "creating":
                    vanished.append(ordinal)
                machine["state"] = "deleted"
            machine["deleted_at"] = self.looked_at
            self.unreleased.append(ordinal)
        self.missing = [ordinal for ordinal in absent if ordinal not in self.unreleased]
        return vanished

    def mark_deleting(self, ordinals: Iterable[int]) -> None:
        """These VMs are given up; their deletion has been asked for."""
        for ordinal in ordinals:
            self.machines[ordinal]["state"] = "failed"
            self.deleting.append(ordinal)

    def news(self) -> list[Machine]:
        """The VMs of which something has come to pass that the database was not told."""
        return [
            machine for machine in self.machines.values() if machine["noted"] != standing(machine)
        ]

    def record_heartbeats(self, told: Mapping[str, Any]) -> None:
        """Take in which VMs were found `silent` and `done`. Without an answer nobody is silent: while
        the database is away, no VM can give a sign of life.
        """
        found = [str(ordinal) for ordinal in told.get("silent", ())]
        self.silent = {ordinal: self.silent.get(ordinal, 0) + 1 for ordinal in found}
        self.done = list(told.get("done", ()))

    def silent_vms(self) -> list[int]:
        """Ordinals of running VMs that were found silent for SILENT_COUNTS times in a row."""
        found = [int(one) for one, counts in self.silent.items() if counts >= SILENT_COUNTS]
        return [one for one in found if self.machines[one]["state"] == "running"]

    def trials_left(self) -> bool:
        """Whether a trial is open, as far as we know; without an answer we must assume so."""
        return self.trials is None or self.trials["ready"] + self.trials["running"] > 0

    def past_deadline(self, now: datetime) -> bool:
        return "deadline" in self.order and now >= datetime.fromisoformat(self.order["deadline"])


def standing(machine: Machine) -> str:
    """How a VM stands, in a word for each thing that has come to pass: its record is noted where this
    has changed, and not for each try at a role.
    """
    came = {
        "role_assigned": machine["role_assigned_at"],
        "ended": machine["ended"],
        "deleted": machine["deleted_at"],
    }
    return " ".join((machine["state"], *(mark for mark, has in came.items() if has)))
