"""When a fleet lists its VMs, and how old a LIST may be that other fleets share."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from orchestrators.fleet import run_fleet
from tests.fleets import fleet_of, later
from tests.orchestrators.play import Execution, play

SECONDS = {"run_poll_seconds": 30.0, "boot_poll_seconds": 5.0, "created_at": later(-9).isoformat()}
LOOKS = 6


def watched(phase: str, group_size: int = 1, shown: str = "Creating") -> Execution:
    """A fleet of one VM, until its LIST fails to show it often enough."""
    fleet = fleet_of("creating" if phase == "boot" else "running", **SECONDS)
    fleet.phase = phase
    looks: list[Any] = []

    def list_vms(task: Any) -> Any:
        looks.append(task)
        states = {shown: [0]} if len(looks) < LOOKS else {}
        return {
            "ok": True,
            "states": states,
            "identities": {},
            "group_size": group_size,
            "age": 0.5,
        }

    trials = {"total": 1, "ready": 0, "running": 1, "complete": 0, "error": 0}
    snapshot = {"ok": True, "trials": trials, "vms_failure": None, "silent": [], "done": []}
    released = {"ok": True, "interrupted": [], "outcomes": {}}
    answers = {
        "was_cancelled": lambda _: {"ok": True, "cancelled": False},
        "list_vms": list_vms,
        "record_snapshot": lambda _: snapshot,
        "release_trials": lambda _: released,
        "revoke_permissions": lambda _: {"ok": True},
        "delete_vm": lambda _: {"ok": True},
        "report_completion": lambda _: {"ok": True},
        "take_writes": lambda _: {"ok": False, "failure": None},
        "teardown_fleet": lambda _: {
            "ok": True, "deleted": 0, "left": [], "machines": 0, "unreleased": None,
        },
    }  # fmt: skip
    return play(run_fleet, fleet.write(), answers, only_first=True)


def looks(played: Execution) -> list[tuple[float, float]]:
    """When VMs were listed, and how old the LIST may have been."""
    calls = zip(played.at, played.calls, strict=True)
    return [(at, task["max_age"]) for at, (name, task) in calls if name == "list_vms"][:LOOKS]


@pytest.mark.parametrize(("phase", "shown"), [("boot", "Creating"), ("run", "Succeeded")])
def test_no_list_began_before_the_previous_look(phase: str, shown: str):
    found = looks(watched(phase, shown=shown))
    assert found[0][1] == 0
    for (before, _), (at, max_age) in pairwise(found):
        assert at - max_age > before


def test_a_list_is_at_most_as_old_as_the_poll_of_a_booting_fleet():
    ages = [age for _, age in looks(watched("run", shown="Succeeded"))[1:]]
    assert ages == [SECONDS["boot_poll_seconds"]] * len(ages)


@pytest.mark.parametrize(("phase", "shown"), [("boot", "Creating"), ("run", "Succeeded")])
def test_a_large_group_is_listed_less_often(phase: str, shown: str):
    """5,000 VMs are 100 pages, and Azure allows 300 a minute; also if they are other fleets'."""
    found = looks(watched(phase, group_size=5000, shown=shown))
    for (before, _), (at, _) in pairwise(found[1:]):
        assert 40 <= at - before <= 43
    assert 30 < found[-1][1] <= 40
