"""What a fleet does about trials that have lost two VMs, and about VMs of the wrong processor."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from fleet.model.demand import MAX_ATTEMPTS
from fleet.model.names import AWAITS_REGULAR, runner_id
from local.stack import Stack
from orchestrators.fleet import run_fleet
from tests.fleets import NOW, fleet_of, placement
from tests.harness import Api, eventually, experiment, lose_vm, sql
from tests.orchestrators.play import Execution, play

TORN = {"ok": True, "deleted": 0, "left": [], "machines": 0, "unreleased": None}
SPOT = {"priority": "Spot"}
PLACE = {"vm_size": "Standard_D2s_v5", "location": "eastus"}
REGULAR = {"fallbacks": [{"priority": "Regular"}]}


@dataclass
class Cloud:
    """VMs on a simulated clock: each ends a look after it has started, in the way of the subclass."""

    alive: set[int]
    priorities: dict[int, str] = field(default_factory=dict)
    looks: int = 0

    def play(self, **changes: Any) -> Execution:
        fleet = fleet_of(*["running"] * len(self.alive), **changes)
        fleet.order |= {  # type: ignore[typeddict-item]
            "run_poll_seconds": 30.0, "boot_poll_seconds": 10.0, "created_at": NOW.isoformat(),
            "owner": "o", "sealed": "", "tenant_id": None, "client_id": None, "timeout": None,
        }  # fmt: skip
        for vm in fleet.vms.values():
            vm["placement"] = placement(priority=changes.get("priority", "Regular"))
            self.priorities[vm["ordinal"]] = vm["placement"]["priority"]
        fleet.phase, fleet.networks = "run", ["eastus"]
        answers = {
            "was_cancelled": lambda _: {"ok": True, "cancelled": False},
            "list_vms": self.list_vms,
            "record_snapshot": lambda _: {"ok": True, "vms_failure": None, **self.snapshot()},
            "take_writes": self.grant,
            "create_wave": self.create,
            "assign_wave": lambda task: {"vms": task["vms"]},
            "save_logs": lambda _: {"ok": True, "saved": 0},
            "delete_vm": lambda _: {"ok": True},
            "revoke_permissions": lambda _: {"ok": True},
            "assign_permissions": lambda _: {"ok": True, "assigned": [0], "failures": []},
            "release_trials": lambda task: {"ok": True, **self.released(task["ordinals"])},
            "report_completion": lambda _: {"ok": True},
            "teardown_fleet": lambda _: TORN,
        }
        return play(run_fleet, fleet.write(), answers)

    def list_vms(self, task: Any) -> Any:
        self.looks += 1
        return {"ok": True, "states": {"Succeeded": sorted(self.alive)}, "identities": {}}

    def grant(self, task: Any) -> Any:
        ask = task["ask"]
        grant = {"roles": ask["roles"], "vms": ask["vms"], "retry_after": 0.0, "paused": 0.0}
        return {"ok": True, "grant": grant}

    def create(self, task: Any) -> Any:
        vms = []
        for one in task["requests"]:
            ordinal = one["ordinal"]
            self.priorities[ordinal] = one["placement"]["priority"]
            self.alive.add(ordinal)
            vms.append({"ordinal": ordinal, "created_at": NOW.isoformat(), "principal_id": "p"})
        return {"vms": vms, "refusals": []}

    def snapshot(self) -> Any:
        raise NotImplementedError

    def released(self, ordinals: list[int]) -> Any:
        raise NotImplementedError


def trials(ready: int, complete: int = 0) -> dict[str, int]:
    return {"total": 2, "ready": ready, "running": 0, "complete": complete, "error": 0}


@dataclass
class OneWaits(Cloud):
    """One trial waits for a VM of regular priority, which ends it; Spot VMs end by themselves."""

    def snapshot(self) -> Any:
        if "Regular" in self.priorities.values():
            return {"trials": trials(0, 2)}
        if self.looks > 2:
            self.alive.clear()
        return {"trials": trials(1, 1), "waiting": 1}

    def list_vms(self, task: Any) -> Any:
        if "Regular" in self.priorities.values():
            self.alive.clear()
        return super().list_vms(task)

    def released(self, ordinals: list[int]) -> Any:
        return {"interrupted": [], "outcomes": {str(one): None for one in ordinals}}


def test_a_regular_vm_is_created_for_a_trial_that_waits():
    cloud = OneWaits({0, 1})
    summary = cloud.play(**SPOT, **REGULAR).output["summary"]
    assert (summary["phase"], summary["trials"]["complete"]) == ("done", 2)
    assert cloud.priorities == {0: "Spot", 1: "Spot", 2: "Regular"}
    assert summary["machines"]["wanted"] == 3


def test_a_fleet_that_may_create_none_ends_with_what_to_allow():
    summary = OneWaits({0, 1}).play(**SPOT).output["summary"]
    reason = summary["reason"]
    assert (summary["phase"], reason["code"]) == ("failed", "RegularVmRequired")
    assert reason["message"] == (
        "Trials left: 1. Each has lost two VMs, and waits for one of regular priority, which the "
        "request does not allow. They were left open."
    )
    assert reason["advice"] == (
        "Add a fallback with priority Regular, and submit the remaining trials again."
    )


SAID = "its processor is AMD EPYC 9V74, and the request's cpu_models allow EPYC 7763"


@dataclass
class WrongCpu(Cloud):
    """VMs have a processor that the request does not allow, up to the one that has."""

    right: int = 99

    def snapshot(self) -> Any:
        done = self.right in self.priorities
        self.alive &= {self.right} if not done else set()
        return {"trials": trials(0 if done else 2, 2 if done else 0)}

    def released(self, ordinals: list[int]) -> Any:
        wrong = [one for one in ordinals if one != self.right]
        outcomes = {str(one): SAID if one in wrong else None for one in ordinals}
        return {"interrupted": [], "outcomes": outcomes, "wrong_cpus": wrong}


def test_vms_of_another_processor_are_replaced():
    cloud = WrongCpu({0}, right=3)
    summary = cloud.play().output["summary"]
    [group] = summary["failures"]
    assert (summary["phase"], group["code"], group["count"]) == ("done", "CpuModelRefused", 3)
    assert group["message"] == f"powerlift-vm-7-0002: {SAID}"
    assert group["action"] == "requested a replacement VM"


@pytest.mark.long
def test_replacements_for_another_processor_are_bounded():
    cloud = WrongCpu({0})
    summary = cloud.play().output["summary"]
    assert (summary["phase"], summary["reason"]["code"]) == ("failed", "CpuModelRefused")
    assert len(cloud.priorities) == MAX_ATTEMPTS
    assert "Allow more cpu_models" in summary["reason"]["advice"]


def test_a_trial_that_lost_two_spot_vms_is_left_open_and_explained(stack: Stack, api: Api):
    """It waits until the last fleet of its experiment has ended."""
    batch, number = 4590, experiment(stack, trials=1)
    other = api.start(experiment_id=number, n_instances=1, **PLACE)
    eventually(partial(is_running, api, other, 0))
    fleet_id = api.start(experiment_id=number, n_instances=1, batch_id=batch, **PLACE, **SPOT)
    for ordinal in range(2):
        eventually(partial(is_running, api, fleet_id, ordinal))
        take = "UPDATE trial SET start_time = now(), runner_id = %s WHERE experiment_id = %s"
        sql(stack, take, runner_id(batch, ordinal), number)
        lose_vm(stack, batch, ordinal)

    fleet = api.wait(fleet_id, "failed")

    trial = "SELECT runner_id, end_time, errmsg FROM trial WHERE experiment_id = %s"
    assert fleet["reason"]["code"] == "RegularVmRequired"
    assert sql(stack, trial, number) == [(AWAITS_REGULAR, None, None)]
    assert len(api.machines(fleet_id)) == 2
    api.end(other)
    assert sql(stack, trial, number) == [(-1, None, None)]


def is_running(api: Api, fleet_id: str, ordinal: int) -> bool | None:
    vms = {vm["ordinal"]: vm["state"] for vm in api.machines(fleet_id)}
    runs = api.get(fleet_id).json()["phase"] == "run" and vms.get(ordinal) == "running"
    return runs or None


@pytest.mark.long
def test_a_trial_that_takes_down_two_vms_fails_with_the_sign(stack: Stack, api: Api):
    batch, number = 4591, experiment(stack, trials=2)
    fleet_id = api.start(experiment_id=number, n_instances=2, batch_id=batch)
    [[trial]] = sql(stack, "SELECT min(id) FROM trial WHERE experiment_id = %s", number)
    for ordinal in (0, 2):  # the second replaces the first; VM 1 stays
        eventually(partial(is_running, api, fleet_id, ordinal))
        runner = runner_id(batch, ordinal)
        take = (
            "UPDATE trial SET start_time = now(), runner_id = %s WHERE id = %s AND runner_id = -1"
            " RETURNING id"
        )
        eventually(lambda: sql(stack, take, runner, trial) or None)  # noqa: B023 - called at once
        report = (
            "INSERT INTO powerlift_fleet_runner"
            " (experiment_id, runner_id, seen_at, memory_available, memory_bytes)"
            " VALUES (%s, %s, now() - interval '1 hour', 1e8, 6.4e10)"
        )
        sql(stack, report, number, runner)

    failed = "SELECT errmsg FROM trial WHERE id = %s AND end_time IS NOT NULL"
    [[message]] = eventually(lambda: sql(stack, failed, trial) or None)
    api.end(fleet_id)
    assert message.startswith(
        "The trial took down its VM 2 times, and was not tried again. Last: at its last heartbeat, "
        f"0.1 GiB of 59.6 GiB of memory were available. powerlift-vm-{batch}-0002 (eastus "
    )
