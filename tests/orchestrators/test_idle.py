"""Idle VMs: the fleet deletes them, reports the reason, and loses no trial."""

from __future__ import annotations

import itertools

import pytest

from fleet.model.names import runner_id
from local.stack import Stack
from tests.harness import Api, eventually, existing_resources, experiment, lose_vm, sql

BATCHES = itertools.count(4600)
SPOT = {"priority": "Spot", "vm_size": "Standard_D2s_v5", "location": "eastus"}


def report(stack: Stack, number: int, batch: int, ordinal: int, **columns: str) -> None:
    """Insert a VM's row as its script does, with these columns (SQL)."""
    sql(
        stack,
        f"INSERT INTO powerlift_fleet_runner (experiment_id, runner_id, {', '.join(columns)})"
        f" VALUES ({number}, {runner_id(batch, ordinal)}, {', '.join(columns.values())})",
    )


def has_table(stack: Stack) -> bool | None:
    return sql(stack, "SELECT to_regclass('powerlift_fleet_runner')")[0][0] and True


def codes(api: Api, fleet_id: str) -> dict[str, int]:
    return {one["code"]: one["count"] for one in api.get(fleet_id).json()["failures"]}


def test_a_vm_without_heartbeat_is_replaced_and_its_trial_requeued(stack: Stack, api: Api):
    batch, number = next(BATCHES), experiment(stack, trials=1)
    fleet_id = api.start(experiment_id=number, n_instances=1, batch_id=batch)
    api.wait(fleet_id, "run")
    eventually(lambda: has_table(stack))
    take = "UPDATE trial SET start_time = now(), runner_id = %s WHERE experiment_id = %s"
    sql(stack, take, runner_id(batch, 0), number)
    report(stack, number, batch, 0, seen_at="now() - interval '1 hour'")

    eventually(lambda: codes(api, fleet_id) == {"VmSilent": 1} or None)
    given = "SELECT runner_id FROM trial WHERE experiment_id = %s"
    eventually(lambda: sql(stack, given, number) == [(-1,)] or None)
    eventually(lambda: api.get(fleet_id).json()["machines"]["running"] == 1 or None)
    ended = "SELECT ended_at IS NOT NULL FROM powerlift_fleet_runner WHERE runner_id = %s"
    assert sql(stack, ended, runner_id(batch, 0)) == [(True,)]
    api.end(fleet_id)
    assert existing_resources(stack, batch) == []


@pytest.mark.long
def test_a_vm_that_cannot_delete_itself_is_deleted(stack: Stack, api: Api):
    batch, number = next(BATCHES), experiment(stack, trials=2)
    fleet_id = api.start(experiment_id=number, n_instances=2, batch_id=batch)
    api.wait(fleet_id, "run")
    eventually(lambda: has_table(stack))
    report(stack, number, batch, 0, ended_at="now() - interval '1 hour'", exit_code="0")

    eventually(lambda: api.get(fleet_id).json()["machines"]["deleted"] == 1 or None)
    shown = api.get(fleet_id).json()
    api.end(fleet_id)
    assert (shown["phase"], shown["machines"]["running"], shown["failures"]) == ("run", 1, [])


@pytest.mark.long
def test_spot_vms_with_a_failing_script_are_not_replaced_forever(stack: Stack, api: Api):
    """VMs deleted while trials are ready are replaced, like evicted ones."""
    batch, number = next(BATCHES), experiment(stack, trials=9)
    fleet_id = api.start(experiment_id=number, n_instances=3, batch_id=batch, **SPOT)
    api.wait(fleet_id, "run")
    eventually(lambda: has_table(stack))
    for ordinal in range(3):
        report(stack, number, batch, ordinal, outcome="'a package is missing'", exit_code="1")
        lose_vm(stack, batch, ordinal)

    fleet = api.wait(fleet_id, "failed")

    [group] = fleet["failures"]
    reported = (group["code"], group["count"], "a package is missing" in group["message"])
    assert reported == ("ScriptFailed", 3, True)
    reason = fleet["reason"]
    assert (reason["code"], "a package is missing. Every VM has" in reason["message"]) == (
        "ScriptFailed",
        True,
    )


SAID = "failed to install the packages: No solution found"
UNINSTALLABLE = {"outcome": f"'{SAID}'", "exit_code": "69", "ended_at": "now() + interval '1 day'"}


def test_the_first_vm_that_cannot_install_ends_the_fleet(stack: Stack, api: Api):
    batch, number = next(BATCHES), experiment(stack, trials=9)
    eventually(lambda: has_table(stack))
    report(stack, number, batch, 0, **UNINSTALLABLE)
    fleet_id = api.start(experiment_id=number, n_instances=3, batch_id=batch)

    reason = api.wait(fleet_id, "failed")["reason"]

    message = f"powerlift-vm-{batch}-0000: {SAID}"
    assert (reason["code"], reason["message"]) == ("PackagesUnavailable", message)
    assert existing_resources(stack, batch) == []


@pytest.mark.long
def test_a_vm_that_cannot_install_ends_alone_if_another_runs_trials(stack: Stack, api: Api):
    batch, number = next(BATCHES), experiment(stack, trials=9)
    fleet_id = api.start(experiment_id=number, n_instances=3, batch_id=batch)
    api.wait(fleet_id, "run")
    claim = (
        "INSERT INTO powerlift_fleet_trial (trial_id, experiment_id, runner_id)"
        " SELECT min(id), experiment_id, %s FROM trial WHERE experiment_id = %s GROUP BY 2"
    )
    sql(stack, claim, runner_id(batch, 1), number)
    report(stack, number, batch, 0, **UNINSTALLABLE)

    eventually(lambda: codes(api, fleet_id) == {"PackagesUnavailable": 1} or None)
    eventually(lambda: api.get(fleet_id).json()["machines"]["failed"] == 1 or None)
    shown = api.get(fleet_id).json()
    api.end(fleet_id)
    assert (shown["phase"], shown["machines"]["running"]) == ("run", 2)
