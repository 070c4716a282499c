"""`max_cost`: a fleet drains before it, ends without exceeding it, and says why."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from fleet.api.progress import machines
from fleet.model.costs import DELETION_SECONDS, HOUR
from fleet.model.failure import failure
from fleet.model.names import runner_id
from fleet.model.vm_list import restored
from local.stack import Stack
from orchestrators.fleet import run_fleet
from tests.fleets import fleet_of, order
from tests.harness import Api, eventually, existing_resources, experiment, sql
from tests.orchestrators.play import Execution, play

BATCHES = itertools.count(4700)
AWAY = failure("DatabaseUnreachable", "No answer.", "retry", "")
SLOWLY = failure("OperationNotAllowed", "Too many requests.", "wait", "", retry_after=1200.0)
THROTTLED = {"ok": False, "failure": SLOWLY}
TRIALS = {"total": 9, "ready": 6, "running": 3, "complete": 0, "error": 0}
TORN = {"ok": True, "deleted": 0, "left": [], "machines": 0, "unreleased": None}
RATE = 12.0
"""US dollars per hour of a VM."""
POLL = 30.0


@dataclass
class Cloud:
    """Three VMs on a simulated clock, of which those in `busy` run a trial that does not end."""

    busy: list[int]
    database: bool = True
    throttled: int = 0
    """LISTs that Azure refuses at first."""
    state: str = "running"
    lists: int = 0
    deleted: set[int] = field(default_factory=set)

    def run(self, max_cost: float) -> Execution:
        fleet = fleet_of(self.state, self.state, self.state)
        fleet.order = order(
            run_poll_seconds=POLL, boot_poll_seconds=10.0, created_at="2026-01-01T00:00:00Z",
            n_instances=3, max_cost=max_cost,
            prices={"eastus/standard_d2s_v5": {"per_hour": RATE, "regular": RATE}},
        )  # fmt: skip
        fleet.phase = "run" if self.state == "running" else "boot"
        fleet.trials = dict(TRIALS)  # type: ignore[assignment]
        answers = {
            "was_cancelled": lambda _: {"ok": True, "cancelled": False},
            "list_vms": lambda _: self.answer_list(),
            "record_snapshot": lambda _: self.answer(trials=TRIALS, vms_failure=None),
            "drain_vms": lambda _: self.answer(busy=self.busy),
            "save_logs": lambda _: {"ok": True, "saved": 0},
            "delete_vm": self.delete,
            "revoke_permissions": lambda _: {"ok": True},
            "release_trials": lambda _: self.answer(interrupted=[], outcomes={}),
            "report_completion": lambda _: {"ok": True},
            "teardown_fleet": lambda _: TORN,
        }
        return play(run_fleet, fleet.write(), answers)

    def answer(self, **result: Any) -> dict[str, Any]:
        return {"ok": True, **result} if self.database else {"ok": False, "failure": AWAY}

    def answer_list(self) -> dict[str, Any]:
        self.lists += 1
        assert self.lists < 1000, "the fleet does not end"
        if self.lists <= self.throttled:
            return THROTTLED
        return {"ok": True, "states": self.listed(), "identities": {}}

    def listed(self) -> dict[str, list[int]]:
        shown = "Succeeded" if self.state == "running" else "Creating"
        return {shown: [ordinal for ordinal in range(3) if ordinal not in self.deleted]}

    def delete(self, task: Any) -> dict[str, Any]:
        self.deleted.add(task["ordinal"])
        return {"ok": True}


def cost_of(played: Execution) -> float:
    [task] = [task for name, task in played.calls if name == "report_completion"]
    return float(task["cost"])


def test_idle_vms_are_deleted_and_busy_ones_continue_until_the_limit():
    cloud = Cloud(busy=[0])
    played = cloud.run(max_cost=4.0)
    summary = played.output["summary"]
    # Three VMs cost a cent per second. One remains, and could exist for a look and a deletion more.
    margin = RATE * (POLL + DELETION_SECONDS) / HOUR
    assert (summary["phase"], summary["reason"]["code"]) == ("failed", "MaxCostReached")
    assert cloud.deleted == {1, 2}
    assert 4.0 - 2 * margin < cost_of(played) <= 4.0 - RATE * DELETION_SECONDS / HOUR


def test_a_drained_fleet_ends_with_its_last_trial():
    cloud = Cloud(busy=[])
    played = cloud.run(max_cost=4.0)
    assert (cloud.deleted, played.output["summary"]["reason"]["code"]) == (
        {0, 1, 2},
        "MaxCostReached",
    )
    assert 2.1 < cost_of(played) < 3.2  # drained after 210 s; two LISTs later, every VM is gone


@pytest.mark.long
def test_an_idle_vm_that_was_deleted_has_not_failed():
    output = Cloud(busy=[0]).run(max_cost=4.0).output
    counts, missing = output["summary"]["machines"], output["summary"]["missing"]
    assert (counts["wanted"], counts["deleted"], counts["failed"], missing) == (3, 3, 0, {})
    shown = machines(order(), restored(order(), output), None)
    assert [(vm["state"], vm["failure"]) for vm in shown] == [("deleted", None)] * 3
    assert [vm["outcome"] for vm in shown][1:] == [
        "The VM was idle when its fleet came close to its max_cost."
    ] * 2


def test_without_the_database_the_vms_are_deleted_before_the_limit():
    cloud = Cloud(busy=[0, 1, 2], database=False)
    played = cloud.run(max_cost=4.0)
    assert (cloud.deleted, played.output["summary"]["reason"]["code"]) == (set(), "MaxCostReached")
    assert cost_of(played) + 3 * RATE * DELETION_SECONDS / HOUR <= 4.0


@pytest.mark.parametrize(
    "cloud",
    [Cloud(busy=[0, 1, 2], throttled=2), Cloud(busy=[], state="creating")],
    ids=["Azure throttles LISTs for twenty minutes", "VMs do not finish to boot"],
)
def test_a_fleet_that_waits_for_azure_ends_before_the_limit(cloud: Cloud):
    played = cloud.run(max_cost=4.0)
    assert played.output["summary"]["reason"]["code"] == "MaxCostReached"
    assert cost_of(played) + 3 * RATE * DELETION_SECONDS / HOUR <= 4.0


def test_the_reason_says_what_happened_what_follows_and_what_to_do():
    reason = Cloud(busy=[]).run(max_cost=4.0).output["summary"]["reason"]
    assert reason["message"].startswith("The fleet has cost $2.")
    assert (
        "exceed its max_cost of $4.00. It starts no more trials, and deletes its VMs"
        in (reason["message"])
    )
    assert reason["advice"].startswith("Submit the remaining trials again")


def test_a_fleet_that_may_cost_little_ends_with_the_rest_of_its_trials(stack: Stack, api: Api):
    """Two VMs on the wire: one runs a trial, the other none. The limit allows them 24 seconds."""
    batch, number = next(BATCHES), experiment(stack, trials=4)
    request = {"experiment_id": number, "n_instances": 2, "vm_size": "Standard_D2s_v5"}
    per_hour = api.plan(**request)["cost"]["per_hour"]
    max_cost = round(per_hour * 1.2 * (DELETION_SECONDS + 1) / HOUR, 6)
    fleet_id = api.start(**request, batch_id=batch, max_cost=max_cost)
    api.wait(fleet_id, "run")
    busy, idle = runner_id(batch, 0), runner_id(batch, 1)
    register = "INSERT INTO powerlift_fleet_runner (experiment_id, runner_id) VALUES (%s, %s)"
    for runner in (busy, idle):
        eventually(lambda: sql(stack, "SELECT to_regclass('powerlift_fleet_runner')")[0][0])
        sql(stack, register, number, runner)
    take = """UPDATE trial SET start_time = now(), runner_id = %s
              WHERE id = (SELECT min(id) FROM trial WHERE experiment_id = %s)"""
    sql(stack, take, busy, number)
    told = "SELECT outcome FROM powerlift_fleet_runner WHERE runner_id = %s AND ended_at IS NULL"
    eventually(lambda: "max_cost" in (sql(stack, told, busy)[0][0] or "") or None)
    sql(stack, "UPDATE trial SET end_time = now(), runner_id = -2 WHERE runner_id = %s", busy)

    fleet = api.wait(fleet_id, "failed")

    cost = api.progress(fleet_id)["cost"]
    assert fleet["reason"]["code"] == "MaxCostReached"
    assert (fleet["trials"]["complete"], fleet["trials"]["ready"]) == (1, 3)
    assert (fleet["machines"]["deleted"], fleet["machines"]["failed"], fleet["missing"]) == (
        2,
        0,
        {},
    )
    assert [vm["state"] for vm in api.machines(fleet_id)] == ["deleted"] * 2
    assert 0 < cost["so_far"] <= cost["max_cost"] == max_cost
    assert existing_resources(stack, batch) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"vm_size": "Standard_B2as_v2", "max_cost": 5}, "PriceUnknown"),
        ({"vm_size": "Standard_D2s_v5", "max_cost": 0.001}, "MaxCostTooLow"),
    ],
)
def test_a_limit_that_cannot_be_kept_fails_the_fleet_before_it_costs_anything(
    stack: Stack, api: Api, changes: dict[str, Any], code: str
):
    batch = next(BATCHES)
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=1, batch_id=batch, **changes)
    fleet = api.wait(fleet_id, "failed")
    assert (fleet["reason"]["code"], fleet["machines"]["accepted"]) == (code, 0)
