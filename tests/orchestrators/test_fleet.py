"""The lifecycle of a fleet, checked by its requests to the simulator and the remaining resources."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest

from benchmarks.sizes import of_log
from fleet.model.names import runner_id
from local.stack import Stack
from tests.harness import (
    TIMEOUT,
    Api,
    eventually,
    existing_resources,
    experiment,
    lose_vm,
    sql,
    wire,
)

VM = "/Microsoft.Compute/virtualMachines/"
ROLE = "/Microsoft.Authorization/roleAssignments/"
FAN_OUT = 10.0
"""Simulated seconds, a tenth of a real one, in which the host starts the activities of a fan-out."""


@dataclass(frozen=True)
class Run:
    """The calls until all VMs ran, and the fleet at the end."""

    vms: int
    max_undead: int
    batch: int
    calls: list[dict[str, Any]]
    fleet: dict[str, Any]
    left: list[str]

    def puts(self, kind: str) -> list[dict[str, Any]]:
        return [
            call
            for call in self.calls
            if call["method"] == "PUT"
            and kind in call["path"]
            and f"-{self.batch}-" in call["path"]
        ]

    def vm_puts(self) -> list[dict[str, Any]]:
        return [call for call in self.puts(VM) if ROLE not in call["path"]]

    def role_puts(self) -> list[dict[str, Any]]:
        return [call for call in self.puts(ROLE) if call["status"] < 300]


def vm_of(call: dict[str, Any]) -> str:
    return str(call["path"].partition(VM)[2].partition("/")[0])


SIZES = [
    pytest.param((20, 5, 4001), id="20"),
    pytest.param((1000, 50, 4003), id="1000", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=SIZES)
def run(request: pytest.FixtureRequest, stack: Stack, api: Api) -> Run:
    vms, max_undead, batch = request.param
    begin = len(wire(stack))
    fleet_id = api.start(
        experiment_id=experiment(stack, trials=vms),
        n_instances=vms,
        max_undead=max_undead,
        batch_id=batch,
    )
    timeout = max(TIMEOUT, vms)
    api.wait(fleet_id, "provisioned", "run", timeout=timeout)
    calls = wire(stack)[begin:]
    api.end(fleet_id, timeout)
    return Run(
        vms, max_undead, batch, calls, api.get(fleet_id).json(), existing_resources(stack, batch)
    )


def test_the_history_of_a_wave_is_small(run: Run, stack: Stack):
    found = of_log((stack.logs / "host.log").read_text(), run.batch)
    assert found["create_wave"].largest_in < 2_000 * run.max_undead


def test_never_more_than_max_undead_vms_lack_their_role(run: Run):
    events = [(call["at"], 1) for call in run.vm_puts()]
    events += [(call["answered"], -1) for call in run.role_puts()]
    without_role = most = 0
    for _, change in sorted(events):
        without_role += change
        most = max(most, without_role)
    assert most <= run.max_undead


def test_roles_are_assigned_in_order_of_creation(run: Run):
    """No VM is assigned its role while another, which Azure had accepted before this one was requested,
    waits for its own. (Activities of one fan-out run at once, and may overtake each other.)
    """
    created = {vm_of(call): call for call in run.vm_puts()}
    tried: dict[str, float] = {}
    for call in sorted(run.puts(ROLE), key=lambda call: call["at"]):
        tried.setdefault(vm_of(call), call["at"])
    overtaken = [
        (later, vm)
        for vm in tried
        for later in tried
        if created[vm]["answered"] < created[later]["at"] and tried[later] < tried[vm] - FAN_OUT
    ]
    assert (len(tried), overtaken) == (run.vms, [])


def test_several_waves_create_vms_at_once(run: Run):
    """A request is sent while an earlier one, of another wave, is not answered."""
    calls = sorted(run.vm_puts(), key=lambda call: call["at"])[3:]  # after the pilots
    gaps = [later["at"] - call["at"] for call, later in itertools.pairwise(calls)]
    starts = [later for gap, later in zip(gaps, calls[1:], strict=True) if gap > 0.01]
    assert any(
        call["at"] < start["at"] - 0.01 and start["at"] < call["answered"]
        for start in starts
        for call in calls
    )


def test_at_most_one_write_in_a_hundred_is_throttled(run: Run):
    writes = [call for call in run.calls if call["method"] == "PUT"]
    assert sum(call["status"] == 429 for call in writes) <= len(writes) / 100


def test_every_resource_is_put_once(run: Run):
    puts = Counter(
        call["path"] for call in run.calls if call["method"] == "PUT" and call["status"] < 300
    )
    assert max(puts.values()) == 1


def test_no_vm_is_read_individually(run: Run):
    assert [call for call in run.calls if call["method"] == "GET" and VM in call["path"]] == []


def test_a_vm_takes_at_most_five_requests(run: Run):
    per_vm = Counter(
        call["path"].lower().partition(f"-{run.batch}-")[2][:4]
        for call in run.calls
        if f"-{run.batch}-" in call["path"]
    )
    assert max(per_vm.values()) <= 5


def test_all_vms_reached_running(run: Run):
    assert run.fleet["machines"]["accepted"] == run.fleet["machines"]["role_assigned"] == run.vms


def test_a_cancelled_fleet_leaves_nothing(run: Run):
    assert (run.fleet["phase"], run.left) == ("cancelled", [])


def test_without_delete_on_complete_vms_are_kept_until_the_fleet_is_deleted(stack: Stack, api: Api):
    number = experiment(stack)
    fleet_id = api.start(
        experiment_id=number, n_instances=2, batch_id=4002, delete_on_complete=False
    )
    api.wait(fleet_id, "run")
    sql(
        stack,
        "UPDATE trial SET start_time = now(), end_time = now() WHERE experiment_id = %s",
        number,
    )
    api.wait(fleet_id, "done")
    kept = [
        identity for identity in existing_resources(stack, 4002) if "/virtualmachines/" in identity
    ]
    api.delete(fleet_id)
    at_once = api.get(fleet_id).json()["phase"]
    eventually(lambda: True if not existing_resources(stack, 4002) else None)
    after = api.wait(fleet_id, "done")
    assert len([identity for identity in kept if "roleassignments" not in identity]) == 2
    assert (at_once, after["machines"]["running"]) == ("teardown", 0)
    # Deleted VMs release quota for other fleets.
    [listed] = sql(stack, "SELECT machines FROM powerlift_fleet WHERE batch_id = 4002")
    assert listed[0]["running"] == 0


def test_a_fleet_that_cannot_start_fails_in_its_plan_and_creates_nothing(stack: Stack, api: Api):
    fleet_id = api.start(experiment_id=2**31 - 1, n_instances=2, batch_id=4003)
    fleet = api.wait(fleet_id, "failed")
    assert (fleet["reason"]["code"], fleet["machines"]["accepted"], wire(stack, batch=4003)) == (
        "ExperimentNotFound",
        0,
        [],
    )
    # Of which its webhook would be notified.
    [recorded] = sql(stack, "SELECT reason->>'code' FROM powerlift_fleet WHERE batch_id = 4003")
    assert recorded == ("ExperimentNotFound",)


def test_a_wrong_secret_is_reported_with_advice(stack: Stack, api: Api):
    fleet_id = api.start(
        experiment_id=experiment(stack),
        n_instances=1,
        batch_id=4004,
        azure_json={
            "tenant_id": stack.arm["tenant_id"],
            "client_id": stack.arm["client_id"],
            "client_secret": "wrong-s3cr3t",
        },
    )
    fleet = api.wait(fleet_id, "failed")
    assert (fleet["reason"]["code"], "wrong-s3cr3t" in str(fleet)) == (
        "AuthenticationFailed",
        False,
    )


def test_the_deadline_ends_a_fleet(stack: Stack, api: Api):
    fleet_id = api.start(
        experiment_id=experiment(stack), n_instances=1, batch_id=4005, max_lifetime=4
    )
    fleet = api.wait(fleet_id)
    assert (fleet["reason"]["code"], existing_resources(stack, 4005)) == ("DeadlineReached", [])


def test_the_trials_of_lost_vms_are_requeued(stack: Stack, api: Api):
    number = experiment(stack, trials=1)
    fleet_id = api.start(experiment_id=number, n_instances=1, batch_id=4006)
    api.wait(fleet_id, "run")
    sql(
        stack,
        "UPDATE trial SET start_time = now(), runner_id = %s WHERE experiment_id = %s",
        runner_id(4006, 0),
        number,
    )
    api.end(fleet_id)
    assert sql(
        stack, "SELECT runner_id, start_time FROM trial WHERE experiment_id = %s", number
    ) == [(-1, None)]


@pytest.mark.long
def test_a_fleet_that_lost_its_vms_reports_the_remaining_trials(stack: Stack, api: Api):
    fleet_id = api.start(experiment_id=experiment(stack), n_instances=2, batch_id=4007)
    api.wait(fleet_id, "run")
    for ordinal in range(2):
        lose_vm(stack, 4007, ordinal)
    fleet = api.wait(fleet_id, "failed")
    assert (
        fleet["reason"]["code"],
        fleet["machines"]["deleted"],
        existing_resources(stack, 4007),
    ) == (
        "TrialsLeft",
        2,
        [],
    )


@pytest.mark.long
def test_a_locked_write_budget_delays_neither_creation_nor_deletion(stack: Stack, api: Api):
    """For more than the seconds of one try: the fleet then uses a budget of its own."""
    number = experiment(stack)
    earlier = api.start(experiment_id=number, n_instances=1)
    api.wait(earlier, "run")
    api.end(earlier)
    [row] = sql(stack, "SELECT subscription_id, principal FROM powerlift_fleet_writes")
    assert row == (stack.arm["subscription_id"], stack.arm["client_object_id"])
    database = psycopg2.connect(stack.db_uri)
    try:
        database.cursor().execute("SELECT FROM powerlift_fleet_writes FOR UPDATE")
        fleet_id = api.start(experiment_id=number, n_instances=3, batch_id=4009)
        assert api.wait(fleet_id, "run")["machines"]["accepted"] == 3
        assert api.end(fleet_id)["phase"] == "cancelled"
        assert existing_resources(stack, 4009) == []
    finally:
        database.close()
