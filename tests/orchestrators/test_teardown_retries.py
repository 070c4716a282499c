"""A teardown that cannot delete everything: what the fleet reports, and which trials are requeued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from fleet.model.failure import failure
from orchestrators.fleet import run_fleet
from orchestrators.teardown import LISTS, PROGRESS_TIMEOUT, teardown_fleet
from tests.fleets import fleet_of, order
from tests.orchestrators.play import Execution, play

ROLE = {"kind": "assignment", "name": "role", "scope": "/subscriptions/s"}
VM = {"kind": "machine", "name": "powerlift-vm-7-0000"}
ORDER = order(run_poll_seconds=30.0, boot_poll_seconds=10.0, created_at="2026-01-01T00:00:00Z")
NO_DATABASE = {"ok": False, "failure": failure("DatabaseUnreachable", "no", "fail_fleet", "")}


def listed(*resources: Any, machines: int | None = 0) -> dict[str, Any]:
    return {"ok": True, "delete": list(resources), "waiting": 0, "machines": machines}


def each(lists: Iterable[dict[str, Any]]) -> Callable[[Any], Any]:
    """One LIST after the other; the last one repeats."""
    rest: Iterator[Any] = iter(lists)
    last: list[Any] = [None]

    def answer(_: Any) -> Any:
        last[0] = next(rest, last[0])
        return last[0]

    return answer


def torn(*lists: dict[str, Any], keep: bool = False, released: Any = None) -> Execution:
    """A teardown whose deletions are all refused and throttled."""
    refused = {"ok": True, "deleted": 0, "refused": {"ScopeLocked": 1}, "retry_after": 300.0}
    answers = {
        "list_owned_resources": each(lists),
        "delete_owned_resources": lambda _: refused,
        "release_trials": lambda _: released or {"ok": True, "interrupted": [], "outcomes": {}},
    }
    return play(teardown_fleet, {"order": ORDER, "keep_machines": keep}, answers)


def ended(*, keep: bool, machines: int | None = 0) -> dict[str, Any]:
    """The output of a fleet that is done and whose teardown leaves a role."""
    fleet = fleet_of("running")
    fleet.order = {**ORDER, "n_instances": 1, "delete_on_complete": not keep}
    fleet.phase, fleet.trials_ended_at = "run", "2025-12-31T00:00:00+00:00"
    fleet.trials = {"total": 1, "ready": 0, "running": 0, "complete": 1, "error": 0}
    left = {"ok": False, "deleted": 0, "left": [ROLE], "machines": machines, "unreleased": None}
    answers = {
        "was_cancelled": lambda _: {"ok": True, "cancelled": False},
        "list_vms": lambda _: {"ok": True, "states": {"Succeeded": [0]}, "identities": {}},
        "record_snapshot": lambda _: {"ok": True, "trials": fleet.trials, "vms_failure": None},
        "report_completion": lambda _: {"ok": True},
        "delete_vm": lambda _: {"ok": True},
        "teardown_fleet": lambda _: left,
    }
    output: dict[str, Any] = play(run_fleet, fleet.write(), answers).output
    return output


def test_a_long_teardown_passes_its_progress_on():
    roles = [{**ROLE, "name": str(at)} for at in range(LISTS + 1)]
    answers = {
        "list_owned_resources": each([*(listed(role, machines=None) for role in roles), listed()]),
        "delete_owned_resources": lambda given: {
            "ok": True, "deleted": len(given["resources"]), "refused": {}, "retry_after": None,
        },
        "release_trials": lambda _: {"ok": True, "interrupted": [], "outcomes": {}},
    }  # fmt: skip
    played = play(teardown_fleet, {"order": ORDER, "keep_machines": False}, answers)
    shown = played.output["ok"], played.output["deleted"], len(played.states)
    assert shown == (True, LISTS + 1, 1)


@pytest.fixture(scope="module")
def vm_and_role() -> Execution:
    """The VM is deleted; the role never is."""
    return torn(listed(VM, ROLE, machines=1), listed(ROLE))


@pytest.fixture(scope="module")
def role() -> Execution:
    return torn(listed(ROLE))


def test_trials_are_requeued_if_a_role_cannot_be_deleted(vm_and_role: Execution):
    given = [task for name, task in vm_and_role.calls if name == "release_trials"]
    assert [(task["ordinals"], task["reasons"]) for task in given] == [(None, None)]


def test_trials_are_requeued_before_the_teardown_gives_up(vm_and_role: Execution):
    called = [name for name, _ in vm_and_role.calls if name != "delete_owned_resources"]
    assert called[:4] == ["list_owned_resources"] * 3 + ["release_trials"]


def test_a_teardown_reports_what_is_left(role: Execution):
    output = role.output
    assert (output["ok"], output["machines"], ROLE in output["left"]) == (False, 0, True)


def test_a_teardown_times_out_without_progress(role: Execution):
    assert role.took >= PROGRESS_TIMEOUT.total_seconds()


def test_trials_are_not_requeued_while_a_vm_exists():
    assert torn(listed(VM, machines=1)).call_count("release_trials") == 0


def test_one_list_without_vms_is_not_enough():
    lists = [listed(machines=0), listed(VM, machines=1), listed(ROLE), listed(VM, machines=1)]
    assert torn(*lists).call_count("release_trials") == 0


def test_trials_are_requeued_again_after_a_late_vm():
    lists = [listed(ROLE), listed(ROLE), listed(VM, machines=1), listed(ROLE)]
    assert torn(*lists).call_count("release_trials") == 2


def test_the_trials_of_kept_vms_are_not_requeued():
    assert torn(listed(machines=None), keep=True).call_count("release_trials") == 0


def test_a_teardown_reports_that_trials_could_not_be_requeued():
    output = torn(listed(), released=NO_DATABASE).output
    assert (output["ok"], output["unreleased"]["code"]) == (True, "DatabaseUnreachable")


@pytest.mark.parametrize(("keep", "phase"), [(True, "done"), (False, "failed")])
def test_remaining_resources_do_not_fail_a_fleet_that_keeps_its_vms(keep: bool, phase: str):
    """The sweep deletes the VMs of a failed fleet."""
    output = ended(keep=keep, machines=None if keep else 0)
    assert output["summary"]["phase"] == phase


def test_remaining_resources_are_reported():
    (group,) = ended(keep=True, machines=None)["summary"]["failures"]
    assert (group["code"], "DELETE" in group["advice"]) == ("LeftBehind", False)


@pytest.mark.parametrize(("machines", "state"), [(0, "deleted"), (1, "running"), (None, "running")])
def test_vms_are_deleted_if_none_exists(machines: int | None, state: str):
    assert ended(keep=False, machines=machines)["machines"][0]["state"] == state
