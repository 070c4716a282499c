"""Telling a story: its fleets run on a stack of their own, until all of them have ended."""

from __future__ import annotations

import json
import re
import time
import urllib.error
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from local.stack import Stack
from tests.harness import TERMINAL, VISIBILITY_TIMEOUT, Api, everything, experiment, sql
from tests.local.azure.driver import Driver
from tests.stories import FIRST_BATCH, Cast, Kill, Moment, Story

TIME_SCALE = 0.01
SETTINGS = {"FLEET_OWNER": "stories", "FLEET_SWEEP_SCHEDULE": "*/2 * * * * *"}
LONGEST = 240.0
"""Seconds in which all fleets of a story end: the retries of one call alone may take 30."""
SWEPT = 60.0
"""Seconds in which two sweeps have run, were the machine ever so busy."""
LOOK = 0.2

BATCH = re.compile(r"/powerlift-(?:vm|nic)-(\d+)-\d{4}")
VMS = "Microsoft.Compute/virtualMachines"
DESCRIBED = re.compile(r": batch (\d+) until ")
ROLE_AT_VM = re.compile(
    r".*/virtualMachines/(powerlift-vm-\d+-\d{4})/providers/Microsoft.Authorization/.*"
)


@dataclass
class Fate:
    """What comes of one fleet."""

    cast: Cast
    batch: int
    shown: dict[str, Any] = field(default_factory=dict)
    """As `GET /fleets/{id}` has it, in the end."""
    machines: list[dict[str, Any]] = field(default_factory=list)
    runtime: str = ""
    """Of the durable instance, after the fleet's end."""
    answers: list[int] = field(default_factory=list)
    """To each DELETE."""
    cancelled_in: list[str] = field(default_factory=list)
    """The phase that the fleet showed after each cancel."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """To Azure, about the batch, in the order of their answers."""
    calls_until_watch: list[dict[str, Any]] | None = None
    ran_until_watch: set[str] = field(default_factory=set)
    """VMs that were seen to run before the fleet was seen to watch."""
    identities: dict[str, set[str]] = field(default_factory=dict)
    """All principal ids that a VM was seen with."""
    left: set[str] = field(default_factory=set)
    """What stood of the batch when its end had been seen."""
    kills: int = 0
    """Of the host, while the fleet lived."""

    @property
    def id(self) -> str:
        return f"fleet-{self.batch}"

    @property
    def phase(self) -> str:
        return str(self.shown.get("phase", ""))

    @property
    def has_ended(self) -> bool:
        return self.phase in TERMINAL

    def writes(self) -> int:
        return sum(call["method"] in ("PUT", "DELETE") for call in self.calls)

    def role_assigned(self) -> set[str]:
        """VMs with a role that lets them delete themselves."""
        return {vm for vm, principals in own_roles(self.calls).items() if principals}


@dataclass(frozen=True)
class Told:
    """What came of a story."""

    fates: list[Fate]
    left: set[str]
    """What stood after all deadlines and two sweeps."""


def tell(story: Story, state: Path) -> Told:
    """Tell a story, until all of its fleets have ended and nothing of them stands, or patience ends."""
    stack = Stack(
        state,
        time_scale=TIME_SCALE,
        seed=story.seed,
        machines="none",
        app_settings=SETTINGS,
        faults=story.weather(),
        visibility_timeout=VISIBILITY_TIMEOUT,
    )
    with stack:
        return Teller(story, stack).tell()


def own_roles(calls: list[dict[str, Any]]) -> dict[str, set[str]]:
    """The identities that were given a role at each VM; the client user is no service principal."""
    found: dict[str, set[str]] = {}
    for call in calls:
        vm = ROLE_AT_VM.fullmatch(call["path"])
        if vm and call["method"] == "PUT" and call["status"] < 300:
            said = call["body"]["properties"]
            if said["principalType"] == "ServicePrincipal":
                found.setdefault(vm[1], set()).add(said["principalId"])
    return found


class Teller:
    """Starts the fleets, interferes when the story says so, and watches."""

    def __init__(self, story: Story, stack: Stack) -> None:
        self.stack, self.api = stack, Api(stack)
        self.driver = Driver(stack.arm, stack.state_dir / "azure")
        self.fates = [Fate(cast, FIRST_BATCH + n) for n, cast in enumerate(story.fleets)]
        self.kills = list(story.kills)
        self._read = self._writes = 0
        self._host_since = (0, time.monotonic())
        """Writes and time at the host's last start."""
        self._experiments: dict[int, int] = {}
        self._working: set[int] = set()
        """Batches whose trials are complete."""

    def tell(self) -> Told:
        before = self._standing()
        for fate in self.fates:
            self._start(fate)
        began = self._host_since = (0, time.monotonic())
        while not all(fate.has_ended for fate in self.fates):
            if time.monotonic() - began[1] > LONGEST:
                break
            self._interfere(began[1])
            self._look()
        for fate in self.fates:
            fate.machines = self.api.machines(fate.id)
            fate.runtime = self._runtime(fate)
        return Told(self.fates, self._left_at_last(before))

    def _start(self, fate: Fate) -> None:
        number = self._experiments[fate.batch] = experiment(self.stack, fate.cast.trials)
        group = self.driver.group
        uris = [
            f"{group}/providers/Microsoft.Storage/storageAccounts/{name}"
            for name in fate.cast.asked["resource_uris"]
        ]
        asked = {**fate.cast.asked, "resource_uris": uris, "batch_id": fate.batch}
        self.api.start(experiment_id=number, **asked)

    # Interfering

    def _interfere(self, began: float) -> None:
        """For the time between two looks, do what is due."""
        until = time.monotonic() + LOOK
        while time.monotonic() < until:
            self._read_wire()
            if self.kills and self._is_due(self.kills[0].when):
                self._kill(self.kills.pop(0))
            for fate in self.fates:
                if self._cancel_is_due(fate, began):
                    self._cancel(fate)
            time.sleep(0.005)

    def _is_due(self, when: Moment) -> bool:
        writes, since = self._host_since
        return self._writes - writes >= when.writes or time.monotonic() - since >= when.seconds

    def _cancel_is_due(self, fate: Fate, began: float) -> bool:
        if fate.cast.ends != "cancel" or fate.cancelled_in:
            return False
        when = fate.cast.when
        return fate.writes() >= when.writes or time.monotonic() - began >= when.seconds

    def _kill(self, kill: Kill) -> None:
        self.stack.kill_host()
        for fate in self.fates:
            fate.kills += not fate.has_ended
        self.stack.start_host()
        for index in kill.cancels:
            self._cancel(self.fates[index])
        self._host_since = (self._writes, time.monotonic())

    def _cancel(self, fate: Fate) -> None:
        for _ in range(fate.cast.cancels):
            fate.answers.append(self.api.delete(fate.id).status_code)
        fate.cancelled_in.append(self.api.get(fate.id).json()["phase"])

    # Looking

    def _look(self) -> None:
        self._look_at_vms()
        for fate in self.fates:
            if fate.has_ended:
                continue
            fate.shown = self.api.get(fate.id).json()
            if fate.phase == "run" and fate.calls_until_watch is None:
                self._read_wire()
                fate.calls_until_watch = list(fate.calls)
                self._complete(fate)
            if fate.has_ended:
                fate.shown = self.api.get(fate.id).json()
                mark = f"-{fate.batch}-"
                fate.left = {one for one in self._standing() if mark in one}

    def _complete(self, fate: Fate) -> None:
        if fate.cast.ends == "work":
            statement = "UPDATE trial SET start_time = now(), end_time = now()"
            number = self._experiments[fate.batch]
            sql(self.stack, f"{statement} WHERE experiment_id = %s", number)
            self._working.add(fate.batch)

    def _look_at_vms(self) -> None:
        for vm in self._vms():
            found = BATCH.search("/" + vm["name"])
            fate = next((f for f in self.fates if found and f.batch == int(found[1])), None)
            if fate is None:
                continue
            principal = (vm.get("identity") or {}).get("principalId")
            if principal:
                fate.identities.setdefault(vm["name"], set()).add(principal)
            if vm["properties"]["provisioningState"] == "Succeeded":
                if fate.calls_until_watch is None:
                    fate.ran_until_watch.add(vm["name"])
                self._end_if_idle(fate, vm["name"])

    def _end_if_idle(self, fate: Fate, vm: str) -> None:
        """A VM without work deletes itself, once it may."""
        keeps = not fate.cast.asked["delete_on_complete"]
        if fate.batch in self._working and not keeps and vm in fate.role_assigned():
            with suppress(requests.ConnectionError):  # the answer was lost: it tries again
                self.driver.send("DELETE", self.driver.vm_path(vm))

    def _vms(self) -> Iterator[dict[str, Any]]:
        """Every VM; none while Azure refuses to tell."""
        # Of the subscription: the plan's faults are of the group's list, which is the app's.
        page: str | None = f"{self.driver.subscription}/providers/{VMS}"
        while page:
            try:
                answer = self.driver.send("GET", page)
            except requests.ConnectionError:  # the plan had the answer lost
                return
            if answer.status_code != 200:
                return
            yield from answer.json()["value"]
            page = answer.json().get("nextLink")

    def _standing(self) -> set[str]:
        """What stands in Azure, however often it refuses to tell."""
        for _ in range(20):
            try:
                return set(everything(self.stack))
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        return set(everything(self.stack))

    def _left_at_last(self, before: set[str]) -> set[str]:
        """What stands after all deadlines and two sweeps, or sooner if that is nothing."""
        deadlines = [fate.shown["deadline"] for fate in self.fates if fate.shown["deadline"]]
        last = max((datetime.fromisoformat(one) for one in deadlines), default=datetime.now(UTC))
        patience = max(0.0, (last - datetime.now(UTC)).total_seconds()) + SWEPT
        until = time.monotonic() + patience
        while (left := self._standing() - before) and time.monotonic() < until:
            time.sleep(0.5)
        self._read_wire()
        return left

    def _read_wire(self) -> None:
        """Take in what Azure was asked since the last time."""
        with (self.stack.state_dir / "azure" / "wire.jsonl").open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            call = json.loads(line)
            self._writes += call["method"] in ("PUT", "DELETE")
            for batch in batches_of(call):
                if 0 <= batch - FIRST_BATCH < len(self.fates):
                    self.fates[batch - FIRST_BATCH].calls.append(call)

    def _runtime(self, fate: Fate) -> str:
        """The durable instance's own status, by the extension's HTTP API."""
        ready = json.loads((self.stack.state_dir / "host" / "ready.json").read_text())
        answer = requests.get(
            f"{self.stack.url}/runtime/webhooks/durabletask/instances/{fate.id}",
            headers={"x-functions-key": ready["keys"]["master"]},
            timeout=30,
        )
        return str(answer.json()["runtimeStatus"])


def batches_of(call: dict[str, Any]) -> set[int]:
    """Whose resource a call is about: by its name, or for a role elsewhere by its description."""
    found = BATCH.findall(call["path"])
    said = ((call["body"] or {}).get("properties") or {}) if call["method"] == "PUT" else {}
    found += DESCRIBED.findall(str(said.get("description", "")))
    return set(map(int, found))
