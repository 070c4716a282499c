"""A fleet while it runs: what its orchestrator knows, carried from one durable history to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, cast

from fleet.records import Failure, Machine, Order, Trials

SHOWN_FAILURES = 8
SHOWN_CHARACTERS = 240
"""Together they keep the custom status, counters and failures, well below its limit of 16 KB."""

_NEW_MACHINE = {"assigned": [], "settled": False, "refusal": None, "tries": 0, "next_try": None}

TERMINAL = frozenset({"done", "cancelled", "failed"})


@dataclass
class FleetState:
    """Everything that decides what comes next. Pure: no clock, no I/O; times are handed in."""

    order: Order
    phase: str = "plan"
    next_ordinal: int = 0
    prepared: list[int] = field(default_factory=list)
    """Ordinals that have a NIC and not yet a VM."""
    machines: dict[int, Machine] = field(default_factory=dict)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By code: count, message, advice, and what we did."""
    trials: Trials | None = None
    provisioned_at: str | None = None
    trials_ended_at: str | None = None
    reason: Failure | None = None
    missing: list[int] = field(default_factory=list)
    """Ordinals that the last look did not show: gone when the next does not show them either."""
    doomed: list[int] = field(default_factory=list)
    """Ordinals that were given up, and may still be there."""
    unreleased: list[int] = field(default_factory=list)
    """Ordinals that are gone, whose roles are not yet taken back."""
    refused: int = 0
    """VMs in a row that Azure has refused."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> FleetState:
        """From an orchestration's input: an order alone at first, then what `write` made."""
        if "order" not in document:
            return cls(cast(Order, dict(document)))
        # Tolerant: the state may have been written by the release before, or the one after.
        known = {field.name for field in fields(cls)}
        state = {name: value for name, value in document.items() if name in known}
        machines = {one["ordinal"]: {**_NEW_MACHINE, **one} for one in document["machines"]}
        return cls(**{**state, "machines": machines})

    def write(self) -> dict[str, Any]:
        """As JSON, for `continue_as_new`."""
        return {**vars(self), "machines": list(self.machines.values())}

    def take(self, room: int) -> list[int]:
        """The next ordinals to create, `room` at most; they are taken for good."""
        ordinals = list(self._next(room))
        self.next_ordinal += len(ordinals)
        return ordinals

    def to_prepare(self, window: int) -> list[int]:
        """Of the ordinals that come next, `window` at most, those that have no NIC yet."""
        return [ordinal for ordinal in self._next(window) if ordinal not in self.prepared]

    def _next(self, count: int) -> range:
        return range(self.next_ordinal, min(self.next_ordinal + count, self.order["n_instances"]))

    def count(self, *states: str) -> int:
        return sum(machine["state"] in states for machine in self.machines.values())

    def permitted(self) -> int:
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

    def add(self, machine: Machine) -> None:
        self.machines[machine["ordinal"]] = machine

    def note(self, failure: Failure, did: str) -> None:
        """Count a failure under its code, with the latest words and what we did about it."""
        group = self.failures.setdefault(failure["code"], {"count": 0})
        group |= {
            "count": group["count"] + 1,
            "message": failure["message"][:SHOWN_CHARACTERS],
            "action": did,
            "advice": failure["advice"],
        }

    def see(
        self, states: Mapping[str, Iterable[int]], identities: Mapping[str, Any]
    ) -> tuple[list[int], list[int]]:
        """Take in one LIST. Returns the ordinals that have failed, and those we did not know of.

        A VM counts as gone when two looks in a row do not show it: a list may lag behind a PUT.
        """
        shown = {ordinal: state for state, some in states.items() for ordinal in some}
        for key, (principal_id, created_at) in identities.items():
            if int(key) in self.machines:
                machine = self.machines[int(key)]
                machine["principal_id"], machine["created_at"] = principal_id, created_at
        failed = [m["ordinal"] for m in self.living() if shown.get(m["ordinal"]) == "Failed"]
        for machine in self.living():
            if shown.get(machine["ordinal"]) in ("Succeeded", "Updating", "Deleting"):
                machine["state"] = "running"
        self._see_absent(set(shown))
        strangers = [
            ordinal
            for ordinal, state in shown.items()
            if ordinal not in self.machines and state != "Deleting"
        ]
        return failed, strangers

    def _see_absent(self, shown: set[int]) -> None:
        watched = [*(machine["ordinal"] for machine in self.living()), *self.doomed]
        absent = [ordinal for ordinal in watched if ordinal not in shown]
        for ordinal in absent:
            if ordinal in self.missing:
                if ordinal in self.doomed:
                    self.doomed.remove(ordinal)
                else:
                    self.machines[ordinal]["state"] = "gone"
                self.unreleased.append(ordinal)
        self.missing = [ordinal for ordinal in absent if ordinal not in self.unreleased]

    def doom(self, ordinals: Iterable[int]) -> None:
        """These VMs are given up; their deletion has been asked for."""
        for ordinal in ordinals:
            self.machines[ordinal]["state"] = "failed"
            self.doomed.append(ordinal)

    def trials_left(self) -> bool:
        """Whether a trial is open, as far as we know; without an answer we must assume so."""
        return self.trials is None or self.trials["ready"] + self.trials["running"] > 0

    def past_deadline(self, now: datetime) -> bool:
        return "deadline" in self.order and now >= datetime.fromisoformat(self.order["deadline"])

    def status(self) -> dict[str, Any]:
        """The custom status: counters, and the most frequent failures in words."""
        often = sorted(self.failures.items(), key=lambda item: -item[1]["count"])[:SHOWN_FAILURES]
        return {
            "phase": self.phase,
            "machines": {
                "wanted": self.order["n_instances"],
                "accepted": len(self.machines),
                "permitted": self.permitted(),
                "running": self.count("running"),
                "failed": self.count("failed"),
                "gone": self.count("gone"),
            },
            "trials": self.trials,
            "failures": [{"code": code, **group} for code, group in often],
            "created_at": self.order.get("created_at"),
            "provisioned_at": self.provisioned_at,
            "deadline": self.order.get("deadline"),
            "reason": self.reason,
        }
