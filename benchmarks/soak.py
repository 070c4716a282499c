"""Runs fleets for days of simulated time, with everything that goes wrong, and checks what is left.

    python -m benchmarks.soak [--minutes 10] [--days 14] [--seed 0]

Fleets arrive by HTTP and by queue, some of them twice; some are cancelled. Azure loses responses, fails
requests and evicts VMs, and the host is killed. Nothing runs inside the VMs: benchmarks/soak_vms.py
plays them. In the second half the host lives on, so that its memory is comparable. At the end, all
fleets have ended and are purged; the exit status is 1 if anything is left that should not be, with a
report.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks.common import make_parser
from benchmarks.soak_checks import LIFETIME, RETENTION, Memory, Soaked, problems
from benchmarks.soak_vms import Vms
from local.stack import Stack
from tests.harness import TERMINAL, Api, all_resource_ids, experiment, send

CONCURRENT = 4
"""Fleets at a time. One submitted to the queue counts from then on."""
KILL_EVERY, REPORT_EVERY = 20.0, 10.0
"""Seconds."""
FIRST_BATCH = 1_000
SETTINGS = {
    "FLEET_SWEEP_SCHEDULE": "*/5 * * * * *",
    "FLEET_PURGE_SCHEDULE": "*/5 * * * * *",
    "FLEET_RETENTION_DAYS": f"{RETENTION / 86400:.9f}",
}
TRANSIENT = ("vm.put", "nic.put", "role.put", "vm.delete", "nic.delete", "role.delete", "vm.list")
OF_THE_APP = "/resourceGroups/"
"""The app's requests. The soak itself lists the subscription, which must not fail."""
PERMANENT = {
    "vm.put": "SkuNotAvailable",
    "vm.boot": "AllocationFailed",
    "role.put": "PrincipalNotFound",
}


@dataclass
class Fleet:
    """A submitted fleet, and what was last seen of it."""

    batch: int
    cancel_at: float | None
    """Monotonic time of its cancel, if any."""
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"fleet-{self.batch}"

    @property
    def has_ended(self) -> bool:
        return self.seen.get("phase") in TERMINAL


class Soak:
    """Submits fleets, plays their VMs, and interferes, until the time is over."""

    def __init__(self, stack: Stack, seconds: float, random_: random.Random, out: Console) -> None:
        self.stack, self.api, self.random, self.out = stack, Api(stack), random_, out
        self.vms = Vms(stack, random_)
        self.fleets: list[Fleet] = []
        self.began = time.monotonic()
        self.until = self.began + seconds
        self.quiet_from = self.began + seconds / 2
        self.kills = 0
        self.memory = Memory()
        self._next_kill, self._next_report = self.began + KILL_EVERY, self.began

    def run(self) -> None:
        """Submit until the time is over, then wait until all fleets have ended."""
        while time.monotonic() < self.until or self.alive():
            now = time.monotonic()
            if now > self.until + 4 * LIFETIME:
                return  # reported as fleets that have not ended
            while now < self.until and len(self.alive()) < CONCURRENT:
                self.submit()
            self.watch()
            self.vms.play()
            if now >= self._next_kill and now < self.quiet_from:
                self.kill()
            if now >= self._next_report:
                self.report()
            time.sleep(0.2)

    def alive(self) -> list[Fleet]:
        return [fleet for fleet in self.fleets if not fleet.has_ended]

    def submit(self) -> None:
        """Submit a fleet by HTTP or queue, one in four of them twice."""
        draw, batch = self.random, FIRST_BATCH + len(self.fleets)
        number = experiment(self.stack, draw.randint(1, 10))
        request = {
            "experiment_id": number,
            "batch_id": batch,
            "n_instances": draw.randint(1, 5),
            "max_undead": draw.randint(1, 4),
            "max_lifetime": LIFETIME,
            "vm_size": "Standard_D2s_v5",
            "priority": draw.choice(["Regular", "Spot"]),
            "zones": draw.choice([[], ["1", "2"]]),
            "fallbacks": draw.choice([[], [{"location": "westus"}]]),
        }
        cancelled = draw.random() < 0.25
        cancel_at = time.monotonic() + draw.uniform(0, LIFETIME / 2) if cancelled else None
        self.fleets.append(Fleet(batch, cancel_at))
        self.vms.experiments[batch] = number
        for _ in range(1 if draw.random() < 0.75 else 2):
            if draw.random() < 0.5:
                answer = self.api.post(request)
                assert answer.status_code in (200, 202), answer.text
            else:
                send(self.stack, json.dumps(request))

    def watch(self) -> None:
        """Look at the fleets that live, and cancel those whose time has come."""
        for fleet in self.alive():
            answer = self.api.get(fleet.id)
            if answer.status_code == 200:  # 404 while its message is in the queue
                fleet.seen = answer.json()
            due = fleet.cancel_at is not None and time.monotonic() >= fleet.cancel_at
            if due and fleet.seen and self.api.delete(fleet.id).status_code == 202:
                fleet.cancel_at = None
        if time.monotonic() >= self.quiet_from:
            process = psutil.Process(self.stack.host_pid)
            self.memory.sample(time.monotonic(), process.memory_info().rss)

    def kill(self) -> None:
        self.stack.kill_host()
        self.stack.start_host()
        self.kills += 1
        self._next_kill = time.monotonic() + KILL_EVERY

    def report(self) -> None:
        seconds = time.monotonic() - self.began
        phases = Counter(str(fleet.seen.get("phase", "submitted")) for fleet in self.fleets)
        days = seconds / self.stack.time_scale / 86400
        failed = [fleet.seen for fleet in self.fleets if fleet.seen.get("phase") == "failed"]
        reasons = Counter((seen["reason"] or {"code": "?"})["code"] for seen in failed)
        self.out.print(
            f"{seconds:4.0f} s, day {days:.1f}: fleets {dict(phases)}, failed {dict(reasons)}, "
            f"{self.vms.completed} trials complete, {self.kills} kills, {self.memory}"
        )
        self._next_report = time.monotonic() + REPORT_EVERY


def fault_plan(until: float) -> dict[str, Any]:
    """Faults of all kinds until a simulated time, after which everything must be cleaned up."""
    faults: list[dict[str, Any]] = [
        {"on": on, "probability": 0.02, "error": "InternalServerError"} for on in TRANSIENT
    ]
    faults += [{"on": on, "probability": 0.02, "lost": True} for on in TRANSIENT]
    faults += [{"on": on, "probability": 0.05, "error": name} for on, name in PERMANENT.items()]
    evictions = [{"within": [0, until / 20], "share": 0.5, "notice": 30}]
    faults = [{**one, "match": OF_THE_APP, "until": until} for one in faults]
    return {"faults": faults, "evictions": evictions}


def main() -> int:
    """Returns the exit status: 0, 1 with problems, or 130 after Ctrl-C."""
    options, out = _options(), Console(highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        found = run_soak(folder, 60 * options.minutes, options.days, options.seed, out)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        out.print("Interrupted: everything is stopped.")
        return 130
    if found:
        out.print(f"{len(found)} problems. The logs are in {folder / 'logs'}:", *found, sep="\n- ")
        return 1
    shutil.rmtree(folder)
    out.print("Nothing is left, and the host's memory is flat.")
    return 0


def run_soak(folder: Path, seconds: float, days: float, seed: int, out: Console) -> list[str]:
    """Run a soak on a new stack in `folder`. Returns what is wrong at the end."""
    scale = seconds / (days * 86400)
    stack = Stack(
        folder,
        time_scale=scale,
        seed=seed,
        machines="none",
        app_settings=SETTINGS,
        faults=fault_plan(until=seconds / scale),
        visibility_timeout=1.0,
    )
    with stack:
        before = set(all_resource_ids(stack))
        running = Soak(stack, seconds, random.Random(seed), out)
        running.run()
        running.report()
        out.print("Waiting for the sweep and the purge")
        ended = [fleet.seen | {"id": fleet.id} for fleet in running.fleets]
        return problems(stack, Soaked(ended, before, running.vms.experiments, running.memory))


def _options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="wall minutes of submissions")
    parser.add_argument("--days", type=float, default=14.0, help="simulated days in that time")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
