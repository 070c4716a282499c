"""Run a scenario: its fleets run on a separate stack until all of them have ended."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from local.stack import REPOSITORY, Stack
from tests.harness import TERMINAL, VISIBILITY_TIMEOUT, Api, all_resource_ids, experiment, sql
from tests.local.azure.driver import Driver
from tests.scenarios import CLIENT, FIRST_BATCH, FleetSpec, Kill, Moment, Scenario

TIME_SCALE = 0.01
SETTINGS = {
    "FLEET_OWNER": "scenarios",
    "FLEET_SWEEP_SCHEDULE": "*/2 * * * * *",
    "FLEET_ALLOWED_PRINCIPALS": CLIENT,
}
TIMEOUT = 240.0
"""Seconds in which all fleets of a scenario end. The retries of one call may take 30."""
SWEPT = 60.0
"""Seconds in which two sweeps run, even on a busy machine."""
POLL_SECONDS = 0.5

BATCH = re.compile(r"/powerlift-(?:vm|nic)-(\d+)-\d{4}")
VMS = "Microsoft.Compute/virtualMachines"
DESCRIBED = re.compile(r": batch (\d+) until ")
ROLE_AT_VM = re.compile(
    r".*/virtualMachines/(powerlift-vm-\d+-\d{4})/providers/Microsoft.Authorization/.*"
)


@dataclass
class FleetResult:
    """The observed phases and end of one fleet."""

    spec: FleetSpec
    batch: int
    shown: dict[str, Any] = field(default_factory=dict)
    """The last response of `GET /fleets/{id}`."""
    machines: list[dict[str, Any]] = field(default_factory=list)
    runtime: str = ""
    """The runtime status of the durable instance after the fleet's end."""
    cancel_responses: list[int] = field(default_factory=list)
    """The HTTP status of each DELETE."""
    cancelled_in: list[str] = field(default_factory=list)
    """The phase of the fleet after each cancel."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Azure calls for the batch, in the order of their responses."""
    calls_until_run: list[dict[str, Any]] | None = None
    running_before_run: set[str] = field(default_factory=set)
    """VMs that were running before the fleet's phase was `run`."""
    identities: dict[str, set[str]] = field(default_factory=dict)
    """All principal ids observed for each VM."""
    left: set[str] = field(default_factory=set)
    """Resources of the batch that existed when its end was observed."""
    kills: int = 0
    """Kills of the host before the fleet ended."""

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
        """VMs with a role assignment that allows them to delete themselves."""
        return {vm for vm, principals in own_roles(self.calls).items() if principals}


@dataclass(frozen=True)
class Result:
    """The outcome of a scenario."""

    fleets: list[FleetResult]
    left: set[str]
    """Resources that existed after all deadlines and two sweeps."""


def run(scenario: Scenario, state: Path, app: Path = REPOSITORY, **settings: str) -> Result:
    """Run a scenario until all fleets have ended and no resource is left, or until a timeout.

    `settings` are additional settings of the app, which is in the folder `app`.
    """
    stack = Stack(
        state,
        time_scale=TIME_SCALE,
        seed=scenario.seed,
        machines="none",
        app_settings={**SETTINGS, **settings},
        faults=scenario.fault_plan(),
        visibility_timeout=VISIBILITY_TIMEOUT,
        app=app,
    )
    with stack:
        return Runner(scenario, stack).run()


def own_roles(calls: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Each VM's service principals with a role assignment at it. The client user is not one of them."""
    found: dict[str, set[str]] = {}
    for call in calls:
        vm = ROLE_AT_VM.fullmatch(call["path"])
        if vm and call["method"] == "PUT" and call["status"] < 300:
            properties = call["body"]["properties"]
            if properties["principalType"] == "ServicePrincipal":
                found.setdefault(vm[1], set()).add(properties["principalId"])
    return found


class Runner:
    """Starts the fleets, kills the host and cancels fleets as planned, and polls them."""

    def __init__(self, scenario: Scenario, stack: Stack) -> None:
        self.stack, self.api = stack, Api(stack)
        self.driver = Driver(stack.arm, stack.state_dir / "azure")
        self.fleets = [FleetResult(spec, FIRST_BATCH + n) for n, spec in enumerate(scenario.fleets)]
        self.kills = list(scenario.kills)
        self._read = self._writes = 0
        self._host_since = (0, time.monotonic())
        """Writes and time at the host's last start."""
        self._experiments: dict[int, int] = {}
        self._working: set[int] = set()
        """Batches with complete trials."""

    def run(self) -> Result:
        before = self._existing_resources()
        for fleet in self.fleets:
            self._start(fleet)
        began = self._host_since = (0, time.monotonic())
        while not all(fleet.has_ended for fleet in self.fleets):
            if time.monotonic() - began[1] > TIMEOUT:
                break
            self._interfere(began[1])
            self._poll()
        for fleet in self.fleets:
            fleet.machines = self.api.machines(fleet.id)
            fleet.runtime = self._runtime(fleet)
        return Result(self.fleets, self._left_in_the_end(before))

    def _start(self, fleet: FleetResult) -> None:
        number = self._experiments[fleet.batch] = experiment(self.stack, fleet.spec.trials)
        group = self.driver.group
        uris = [
            f"{group}/providers/Microsoft.Storage/storageAccounts/{name}"
            for name in fleet.spec.request["resource_uris"]
        ]
        request = {**fleet.spec.request, "resource_uris": uris, "batch_id": fleet.batch}
        self.api.start(experiment_id=number, **request)

    # Kills and cancels

    def _interfere(self, began: float) -> None:
        """Run the kills and cancels that are due until the next poll."""
        until = time.monotonic() + POLL_SECONDS
        while time.monotonic() < until:
            self._read_wire()
            if self.kills and self._is_due(self.kills[0].when):
                self._kill(self.kills.pop(0))
            for fleet in self.fleets:
                if self._cancel_is_due(fleet, began):
                    self._cancel(fleet)
            time.sleep(0.02)

    def _is_due(self, when: Moment) -> bool:
        writes, since = self._host_since
        return self._writes - writes >= when.writes or time.monotonic() - since >= when.seconds

    def _cancel_is_due(self, fleet: FleetResult, began: float) -> bool:
        if fleet.spec.ends != "cancel" or fleet.cancelled_in:
            return False
        when = fleet.spec.when
        return fleet.writes() >= when.writes or time.monotonic() - began >= when.seconds

    def _kill(self, kill: Kill) -> None:
        self.stack.kill_host()
        for fleet in self.fleets:
            fleet.kills += not fleet.has_ended
        self.stack.start_host()
        for index in kill.cancels:
            self._cancel(self.fleets[index])
        self._host_since = (self._writes, time.monotonic())

    def _cancel(self, fleet: FleetResult) -> None:
        for _ in range(fleet.spec.cancels):
            fleet.cancel_responses.append(self.api.delete(fleet.id).status_code)
        fleet.cancelled_in.append(self.api.get(fleet.id).json()["phase"])

    # Polling

    def _poll(self) -> None:
        self._poll_vms()
        for fleet in self.fleets:
            if fleet.has_ended:
                continue
            fleet.shown = self.api.get(fleet.id).json()
            if fleet.phase == "run" and fleet.calls_until_run is None:
                self._read_wire()
                fleet.calls_until_run = list(fleet.calls)
                self._complete(fleet)
            if fleet.has_ended:
                fleet.shown = self.api.get(fleet.id).json()
                mark = f"-{fleet.batch}-"
                fleet.left = {one for one in self._existing_resources() if mark in one}

    def _complete(self, fleet: FleetResult) -> None:
        if fleet.spec.ends == "work":
            statement = "UPDATE trial SET start_time = now(), end_time = now()"
            number = self._experiments[fleet.batch]
            sql(self.stack, f"{statement} WHERE experiment_id = %s", number)
            self._working.add(fleet.batch)

    def _poll_vms(self) -> None:
        for vm in self._vms():
            found = BATCH.search("/" + vm["name"])
            fleet = next((f for f in self.fleets if found and f.batch == int(found[1])), None)
            if fleet is None:
                continue
            principal = (vm.get("identity") or {}).get("principalId")
            if principal:
                fleet.identities.setdefault(vm["name"], set()).add(principal)
            if vm["properties"]["provisioningState"] == "Succeeded":
                if fleet.calls_until_run is None:
                    fleet.running_before_run.add(vm["name"])
                self._end_if_idle(fleet, vm["name"])

    def _end_if_idle(self, fleet: FleetResult, vm: str) -> None:
        """Delete an idle VM that has its role, as the VM itself does."""
        keeps = not fleet.spec.request["delete_on_complete"]
        if fleet.batch in self._working and not keeps and vm in fleet.role_assigned():
            with suppress(requests.ConnectionError):  # lost response; retried at the next poll
                self.driver.send("DELETE", self.driver.vm_path(vm))

    def _vms(self) -> Iterator[dict[str, Any]]:
        """Every VM; none if the list fails."""
        # The subscription's list: the plan's faults apply to the group's, which the app uses.
        page: str | None = f"{self.driver.subscription}/providers/{VMS}"
        while page:
            try:
                answer = self.driver.send("GET", page)
            except requests.ConnectionError:  # the fault plan lost the response
                return
            if answer.status_code != 200:
                return
            yield from answer.json()["value"]
            page = answer.json().get("nextLink")

    def _existing_resources(self) -> set[str]:
        """The ids of everything in Azure. Retries failed lists."""
        for _ in range(20):
            try:
                return set(all_resource_ids(self.stack))
            except requests.RequestException:
                time.sleep(0.1)
        return set(all_resource_ids(self.stack))

    def _left_in_the_end(self, before: set[str]) -> set[str]:
        """Resources that exist after all deadlines and two sweeps; returns as soon as there are none."""
        deadlines = [fleet.shown["deadline"] for fleet in self.fleets if fleet.shown["deadline"]]
        last = max((datetime.fromisoformat(one) for one in deadlines), default=datetime.now(UTC))
        timeout = max(0.0, (last - datetime.now(UTC)).total_seconds()) + SWEPT
        until = time.monotonic() + timeout
        while (left := self._existing_resources() - before) and time.monotonic() < until:
            time.sleep(0.5)
        self._read_wire()
        return left

    def _read_wire(self) -> None:
        """Read the calls logged since the last read."""
        with (self.stack.state_dir / "azure" / "wire.jsonl").open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            call = json.loads(line)
            self._writes += call["method"] in ("PUT", "DELETE")
            for batch in batches_of(call):
                if 0 <= batch - FIRST_BATCH < len(self.fleets):
                    self.fleets[batch - FIRST_BATCH].calls.append(call)

    def _runtime(self, fleet: FleetResult) -> str:
        """The runtime status of the durable instance, from the extension's HTTP API."""
        ready = json.loads((self.stack.state_dir / "host" / "ready.json").read_text())
        answer = requests.get(
            f"{self.stack.url}/runtime/webhooks/durabletask/instances/{fleet.id}",
            headers={"x-functions-key": ready["keys"]["master"]},
            timeout=30,
        )
        return str(answer.json()["runtimeStatus"])


def batches_of(call: dict[str, Any]) -> set[int]:
    """The batches of a call's resources: by name, or for a role elsewhere by its description."""
    found = BATCH.findall(call["path"])
    properties = ((call["body"] or {}).get("properties") or {}) if call["method"] == "PUT" else {}
    found += DESCRIBED.findall(str(properties.get("description", "")))
    return set(map(int, found))
