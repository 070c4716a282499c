"""Fleets as the API returns them, at any time of their life, for tests of the pages."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from fleet.model.placement import label

Json = dict[str, Any]

PLACES: list[Json] = [
    {"location": "eastus", "zone": "1", "vm_size": "Standard_D2s_v5", "priority": "Spot"},
    {"location": "eastus", "zone": "2", "vm_size": "Standard_D2s_v5", "priority": "Spot"},
    {"location": "westus2", "zone": None, "vm_size": "Standard_D2s_v5", "priority": "Regular"},
]
CPUS = ("Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz", "AMD EPYC 7763 64-Core Processor")
SYSTEM: Json = {
    "image": "canonical:ubuntu-24_04-lts:server", "image_version": "24.04.202602200",
    "kernel": "6.14.0-1017-azure", "architecture": "x86_64", "cpu_model": CPUS[0], "cpus": 2,
    "memory_bytes": 8_331_235_328, "python": "3.12.3", "lock_digest": "4b9f2c" * 10,
}  # fmt: skip
USAGE = {
    "wall_seconds": 1.25, "user_seconds": 2.1, "system_seconds": 0.24, "steal_seconds": 0.31,
    "max_rss_bytes": 412_876_800,
}  # fmt: skip
TERMINAL = ("done", "cancelled", "failed")
PORTAL = (
    "https://portal.azure.com/#@/resource/subscriptions/33333333-3333-3333-3333-333333333333"
    "/resourceGroups/benchmarks"
)
PRICES = (0.0211, 0.0211, 0.096)
SAID = ("message", "action", "advice")
FAILURES = {
    "ZonalAllocationFailed": (
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone.",
        "tried the next zone or fallback",
        "Azure has no room for this size here now. Try later, or let the request list more zones or"
        " fallbacks.",
    ),
    "SpotEvicted": (
        "Azure evicted the VM; its trial went back to the queue.",
        "created a replacement",
        "Azure took the Spot VM back. List a fallback with priority Regular to be sure.",
    ),
}


class Scene:
    """One fleet: `status`, `progress` and `machines` are the API's three answers.

    `elapsed` is how many seconds ago the fleet began; each VM works at `pace` seconds per trial.
    `name` is the experiment's, `own_name` the fleet's.
    """

    def __init__(
        self,
        fleet_id: str = "fleet-7",
        *,
        vms: int = 6,
        elapsed: float = 1500,
        trials: int = 240,
        pace: float = 30,
        failing: float = 0.2,
        phase: str | None = None,
        name: str | None = "tabular-small",
        own_name: str | None = None,
        seed: int = 3,
        prices: bool = True,
        now: datetime | None = None,
    ) -> None:
        self.id, self.vms, self.elapsed, self.total = fleet_id, vms, elapsed, trials
        self.own_name = own_name
        self.number: int | None = int(fleet_id.removeprefix("fleet-")) % 1000
        self.pace, self.failing, self.name, self.prices = pace, failing, name, prices
        self.now = now or datetime.now(UTC)
        self.began = self.now - timedelta(seconds=elapsed)
        self.ends: list[tuple[float, bool]] = []
        self.machines = self._machines(random.Random(seed))
        self.ends.sort()
        del self.ends[trials:]
        self.phase = phase or self._phase()
        if self.phase in ("done", "cancelled"):
            self._end()

    def advance(self, seconds: float) -> Scene:
        """The same fleet, later."""
        return Scene(
            self.id, vms=self.vms, elapsed=self.elapsed + seconds, trials=self.total, pace=self.pace,
            failing=self.failing, name=self.name, own_name=self.own_name, prices=self.prices,
            now=self.now + timedelta(seconds=seconds),
        )  # fmt: skip

    def at(self, seconds: float | None) -> str | None:
        """A time of the fleet's life, if it has passed."""
        if seconds is None or seconds > self.elapsed:
            return None
        return (self.began + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    def answers(self) -> dict[str, Json]:
        return {
            "": self.status(),
            "/progress": self.progress(),
            "/machines": {"id": self.id, "machines": self.machines},
        }

    def status(self) -> Json:
        states = Counter(one["state"] for one in self.machines)
        failed = Counter(one["failure"]["code"] for one in self.machines if one["failure"])
        groups = [
            {"code": code, "count": n, **dict(zip(SAID, FAILURES[code], strict=True))}
            for code, n in failed.most_common()
        ]  # fmt: skip
        return {
            "id": self.id, "number": self.number, "name": self.own_name,
            "batch_id": 7, "experiment_id": 12, "phase": self.phase,
            "machines": {
                "wanted": self.vms,
                "pending": max(0, self.vms - sum(one["replaces"] is None for one in self.machines)),
                "accepted": sum(one["created_at"] is not None for one in self.machines),
                "role_assigned": sum(one["role_assigned_at"] is not None for one in self.machines),
                "creating": states["creating"],
                "running": states["running"],
                "failed": states["failed"],
                "deleted": states["deleted"],
                "refused": states["refused"],
            },
            "trials": self.trials(),
            "failures": groups,
            "missing": {},
            "placements": self._places(),
            "warnings": ["quotas: 12 of the family's 20 vCPUs are in use. Ask for more quota."],
            "reason": None,
            "ended_in": "run" if self.phase == "cancelled" else None,
            "outcome": self.outcome(),
            "created_at": self.at(0),
            "updated_at": self.now.isoformat(),
            "ended_at": self.now.isoformat() if self.phase in TERMINAL else None,
            "portal": PORTAL,
            "stale_seconds": None,
            "version": "1.0",
            "provisioned_at": self.at(160),
            "deadline": (self.began + timedelta(days=1)).isoformat(),
            "summary": None,
            "links": {},
        }  # fmt: skip

    def entry(self) -> Json:
        """The fleet in the API's list; before its first report without counts."""
        shown, progress = self.status(), self.progress()
        over, begun = self.phase in TERMINAL, self.elapsed >= 2
        kept = (
            "id", "number", "name", "batch_id", "experiment_id", "phase", "outcome", "created_at",
            "links",
        )  # fmt: skip
        return {
            **{name: shown[name] for name in kept},
            "experiment_name": progress["experiment"]["name"] if begun else None,
            "submitted_by": "key-0123456789ab",
            "machines": shown["machines"] if begun else None,
            "trials": shown["trials"] if begun else None,
            "cost": progress["cost"]["so_far"] if over and progress["cost"] else None,
            "updated_at": shown["updated_at"],
            "ended_at": shown["ended_at"],
            "purged_at": None,
        }

    def outcome(self) -> str | None:
        if self.phase != "done":
            return self.phase if self.phase in ("cancelled", "failed") else None
        trials = self.trials()
        if not trials["error"]:
            return "succeeded"
        return "some_trials_failed" if trials["complete"] else "all_trials_failed"

    def trials(self) -> Json:
        errors = sum(not good for _, good in self.ends)
        running = sum(one["trials"]["running"] for one in self.machines)
        running = min(running, self.total - len(self.ends))
        return {
            "total": self.total, "ready": self.total - len(self.ends) - running,
            "running": running, "complete": len(self.ends) - errors, "error": errors,
        }  # fmt: skip

    def trial_page(self, query: dict[str, str]) -> Json:
        """Those that have ended come first."""
        ended = ["complete" if good else "failed" for _, good in self.ends]
        states = [*ended, *["ready"] * (self.total - len(ended))]
        found = [
            self._trial(number, state)
            for number, state in enumerate(states, 1)
            if number > int(query.get("cursor", 0)) and query.get("state", state) == state
        ]
        limit = int(query["limit"])
        following = str(found[limit - 1]["id"]) if len(found) >= limit else None
        return {"id": self.id, "experiment_id": 12, "trials": found[:limit], "next": following}

    def _trial(self, number: int, state: str) -> Json:
        ended, failed = state != "ready", state == "failed"
        return {
            "id": number, "task": self.name, "origin": "openml", "method": f"<b>tree</b> {number}",
            "meta": "{}", "replicate": 0, "state": state, "machine": 0 if ended else None,
            "started_at": None, "ended_at": None, "seconds": 1.25 if ended else None,
            "usage": USAGE if ended else None,
            "vm": {"name": "powerlift-vm-7-0000", "system": SYSTEM} if ended else None,
            "measures": {"accuracy": 0.873456} if state == "complete" else {},
            "error": "ValueError: <i>no</i>" if failed else None,
            "traceback": "Traceback (most recent call last):\nValueError: <i>no</i>" if failed else None,
        }  # fmt: skip

    def progress(self) -> Json:
        step = max(1.0, self.elapsed / 120)
        marks = [step * (i + 1) for i in range(int(self.elapsed / step))]
        rest = self.total - len(self.ends)
        workers = sum(one["trials"]["running"] for one in self.machines)
        rate = workers * 3600 / self.pace
        end = self.now + timedelta(hours=rest / rate) if rate and rest else None
        hours = self._hours()
        spent = sum(h * p for h, p in zip(hours, PRICES, strict=True))
        ended = len(self.ends)
        return {
            "id": self.id, "as_of": self.now.isoformat(),
            "experiment": {"id": 12, "name": self.name},
            "trials": self.trials(),
            "series": {
                "start": self.at(0), "step": step,
                "complete": ended_by(marks, [at for at, good in self.ends if good]),
                "error": ended_by(marks, [at for at, good in self.ends if not good]),
            },
            "before": {"complete": 0, "error": 0},
            "errors": self.errors(),
            "cpu_models": self.cpu_models(),
            "trials_per_hour": rate or None,
            "expected_end": end.isoformat() if end else None,
            "vm_hours": {
                "so_far": sum(hours),
                "by_placement": [
                    {"placement": where, "vm_hours": h, "price_per_hour": price if self.prices else None}
                    for where, h, price in zip(PLACES, hours, PRICES, strict=True) if h
                ],
            },
            "cost": {
                "currency": "USD", "so_far": spent, "per_hour": workers * 0.0211,
                "expected": spent * self.total / ended if ended else None,
                "per_trial": spent / ended if ended else None,
                "saved_by_spot": hours[0] * 0.0749, "max_cost": 250.0,
            } if self.prices else None,
            "right_sizing": None,
            "problem": None,
        }  # fmt: skip

    def cpu_models(self) -> list[Json]:
        shares = zip(CPUS, (self.vms - 1, 1), (len(self.ends) - 9, 9), strict=True)
        return [
            {"model": cpu, "machines": vms, "trials": trials}
            for cpu, vms, trials in shares if vms > 0 and trials > 0
        ]  # fmt: skip

    def errors(self) -> list[Json]:
        """What trials failed with: for most of them one thing, with the fleet's own name in it."""
        failed = sum(not good for _, good in self.ends)
        nan = f"ValueError: Input X of {self.name} contains NaN."
        messages = [(nan, failed - failed // 3), ("MemoryError", failed // 3)]
        return [{"message": message, "count": count} for message, count in messages if count]

    def _machines(self, draw: random.Random) -> list[Json]:
        """All VMs so far, including replacements."""
        machines: list[Json] = []
        requested: list[tuple[int, float, int | None, int]] = [
            (i, 8 + 0.9 * i + draw.uniform(0, 4), None, 1) for i in range(self.vms)
        ]
        following = self.vms
        for ordinal, begun, replaces, attempt in requested:
            if begun > self.elapsed:
                continue
            placement = ordinal % 2 if attempt == 1 else 2
            times = [begun, begun + draw.uniform(5, 14)]
            times += [times[1] + draw.uniform(25, 70)]
            times += [times[2] + 10, times[2] + draw.uniform(40, 120)]
            failed = attempt == 1 and draw.random() < self.failing
            lost = failed and draw.random() < 0.5
            end = None
            if failed:
                end = times[4] + draw.uniform(60, 500) if lost else times[1] + draw.uniform(20, 40)
                if not lost:
                    times[2:] = []
            machine = self._machine(ordinal, placement, replaces, attempt, times)
            if end is not None and end < self.elapsed:
                code = "SpotEvicted" if lost else "ZonalAllocationFailed"
                message, did, _ = FAILURES[code]
                machine |= {
                    "state": "failed", "ended_at": self.at(end), "deleted_at": self.at(end + 25),
                    "failure": {"code": code, "message": message, "action": did},
                }  # fmt: skip
                if end + 6 < self.elapsed:
                    requested.append((following, end + 6, ordinal, 2))
                    following += 1
            self._work(machine, draw, times, min(self.elapsed, end or self.elapsed))
            machines.append(machine)
        return sorted(machines, key=lambda one: int(one["ordinal"]))

    def _machine(
        self, ordinal: int, placement: int, replaces: int | None, attempt: int, times: list[float]
    ) -> Json:
        created, role_assigned, running, working, first = [
            self.at(at) for at in (*times, *[None] * 5)[:5]
        ]
        return {
            "ordinal": ordinal, "name": f"powerlift-vm-7-{ordinal:04}", "runner_id": 70000 + ordinal,
            "placement": PLACES[placement], "state": "running" if running else "creating",
            "attempt": attempt, "replaces": replaces,
            "created_at": created, "role_assigned_at": role_assigned, "running_at": running,
            "working_at": working, "first_trial_at": first, "ended_at": None, "deleted_at": None,
            "failure": None, "outcome": None, "trials": {"running": 0, "complete": 0, "error": 0},
            "system": SYSTEM if working else None,
        }  # fmt: skip

    def _work(self, machine: Json, draw: random.Random, times: list[float], until: float) -> None:
        if len(times) < 5 or machine["first_trial_at"] is None:
            return
        at = times[4] + self.pace * draw.uniform(0.7, 1.3)
        while at < until and len(self.ends) < 2 * self.total:
            good = draw.random() > 0.03
            self.ends.append((at, good))
            machine["trials"]["complete" if good else "error"] += 1
            at += self.pace * draw.uniform(0.7, 1.3)
        machine["trials"]["running"] = int(machine["state"] == "running")

    def _phase(self) -> str:
        if self.elapsed < 4:
            return "plan" if self.elapsed < 2 else "network"
        if len(self.machines) < self.vms:
            return "create"
        booting = any(one["state"] == "creating" for one in self.machines)
        return "boot" if booting and self.elapsed < 300 else "run"

    def _end(self) -> None:
        for machine in self.machines:
            machine["trials"]["running"] = 0
            if machine["state"] != "failed":
                machine |= {
                    "state": "deleted", "ended_at": self.at(self.elapsed - 70),
                    "deleted_at": self.at(self.elapsed - 20),
                    "outcome": "no more work" if self.phase == "done" else None,
                }  # fmt: skip

    def _places(self) -> list[Json]:
        found = []
        for placement in PLACES:
            here = [one for one in self.machines if one["placement"] == placement]
            failed = Counter(one["failure"]["code"] for one in here if one["failure"])
            accepted = len(here) - sum(failed.values())
            if here:
                found.append(
                    {"placement": label(placement), "accepted": accepted, "failed": dict(failed)}
                )  # type: ignore[arg-type]
        return found

    def _hours(self) -> list[float]:
        sums = [0.0] * len(PLACES)
        for one in self.machines:
            begun = datetime.fromisoformat(one["created_at"])
            deleted = datetime.fromisoformat(one["deleted_at"]) if one["deleted_at"] else self.now
            sums[PLACES.index(one["placement"])] += (deleted - begun).total_seconds() / 3600
        return sums


def ended_by(marks: list[float], ends: list[float]) -> list[int]:
    """How many of the sorted `ends` had come to pass at each mark."""
    return [bisect_right(ends, mark) for mark in marks]


HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "long": "x" * 4096,
    "right-to-left": "مرحبا \u202e gnp.exe \u202d שלום",
    "quotes": "\"quoted\" 'single' `tick` ${7*7} {{7*7}} &lt;b&gt;",
}


class Hostile(Scene):
    """A fleet with hostile text in every field."""

    def __init__(self) -> None:
        super().__init__(name=" ".join(HOSTILE.values()), own_name=HOSTILE["markup"], failing=0)
        for at, machine in enumerate(self.machines):
            words = [*HOSTILE.values()][at % len(HOSTILE)]
            machine |= {"name": words, "outcome": words, "system": dict.fromkeys(SYSTEM, words)}
            machine["placement"] = {**machine["placement"], "vm_size": words, "location": words}
            if at % 2:
                machine |= {
                    "state": "failed",
                    "failure": {"code": words, "message": words, "action": words},
                }

    def status(self) -> Json:
        texts = [*HOSTILE.values()]
        why = {"code": texts[0], "message": texts[1], "advice": texts[2], "action": texts[3]}
        return {
            **Scene(self.id, own_name=self.own_name).status(),
            "failures": [
                {"code": t, "count": 1, "message": t, "action": t, "advice": t} for t in texts
            ],
            "placements": [{"placement": t, "accepted": 1, "failed": {t: 1}} for t in texts],
            "warnings": texts,
            "missing": dict.fromkeys(texts, 1),
            "reason": why,
            "phase": "failed",
            "ended_in": "run",
            "outcome": "failed",
        }

    def progress(self) -> Json:
        return {**Scene(self.id).progress(), "experiment": {"id": 12, "name": self.name}}


class Refused(Scene):
    """A fleet that failed in the phase create: Azure refused its VMs."""

    def __init__(self) -> None:
        super().__init__(vms=10, elapsed=60, phase="failed", failing=0)
        message, action, _ = FAILURES["ZonalAllocationFailed"]
        self.machines = [
            {
                **one,
                **dict.fromkeys(
                    ("created_at", "role_assigned_at", "running_at", "working_at", "first_trial_at")
                ),
                "state": "refused",
                "failure": {"code": "ZonalAllocationFailed", "message": message, "action": action},
            }
            for one in self.machines[:3]
        ]

    def status(self) -> Json:
        shown = super().status()
        [group] = shown["failures"]
        reason = {name: group[name] for name in ("code", *SAID)}
        reason["message"] = f"None of the 10 VMs started. {reason['message']}"
        counts = {**shown["machines"], "pending": 0}
        missing = {"missing": {"ZonalAllocationFailed": 10}, "provisioned_at": None}
        return {**shown, **missing, "machines": counts, "reason": reason, "ended_in": "create"}

    def _hours(self) -> list[float]:
        return [0.0] * len(PLACES)
