"""When a fleet asks for writes, and what it does without an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet.azure.error_classifier import describe
from fleet.model.failure import failure
from fleet.model.records import Vm
from fleet.store.database import DatabaseUnreachable
from orchestrators.fleet import run_fleet
from tests.fleets import fleet_of, later, machine, new_fleet
from tests.orchestrators.play import Execution, play

UNREACHABLE = {"ok": False, "failure": describe(DatabaseUnreachable("It does not respond."))}
THROTTLED: Any = {**failure("TooManyRequests", "", "wait", ""), "retry_after": 20.0}
SECONDS = {"run_poll_seconds": 30.0, "boot_poll_seconds": 5.0, "created_at": later(-9).isoformat()}
Answer = Callable[[Any], Any]


def granting(most: int = 100, **changes: float) -> Answer:
    """Grants up to `most` VMs, and roles, for each ask."""

    def answer(task: Any) -> Any:
        roles, vms = (min(most, task["ask"][kind]) for kind in ("roles", "vms"))
        return granted(roles, vms, **changes)

    return answer


def granted(roles: int, vms: int, **changes: float) -> Any:
    return {
        "ok": True,
        "grant": {"roles": roles, "vms": vms, "retry_after": 0.0, "paused": 0.0, **changes},
    }


def each(*answers: Any) -> Answer:
    """One answer after the other; the last is repeated."""
    left = list(answers)

    def answer(given: Any) -> Any:
        one = left.pop(0) if len(left) > 1 else left[0]
        return one(given) if callable(one) else one

    return answer


def create(task: Any) -> Any:
    return {"vms": [accepted(one) for one in task["requests"]], "refusals": []}


def accepted(request: Any) -> Vm:
    # Created before the wave that assigns its role started.
    return {
        **machine(request["ordinal"], created_at=later(-1).isoformat()),
        **request,
        **UNASSIGNED,
    }  # type: ignore[typeddict-item]


UNASSIGNED = {"assigned": [], "roles_settled": False}


def assign(task: Any) -> Any:
    return {"vms": [{**vm, "assigned": [0], "roles_settled": True} for vm in task["vms"]]}


def provision(vms: int, take: Answer, fleet: Any = None, **answers: Answer) -> Execution:
    """A fleet from its first wave until its VMs run, or its history ends."""
    exist = list(fleet.vms) if fleet else []

    def create_some(task: Any) -> Any:
        result = answers.get("create_wave", create)(task)
        exist.extend(vm["ordinal"] for vm in result["vms"])
        return result

    def list_all(_: Any) -> Any:
        return {"ok": True, "states": {"Succeeded": list(exist)}, "identities": {}}

    fleet = fleet or new_fleet(vms, max_undead=50, **SECONDS)
    fleet.phase, fleet.networks = "create", ["eastus"]
    fleet.placements.tried = [machine(0)["placement"]]
    usual: dict[str, Answer] = {
        "was_cancelled": lambda _: {"ok": True, "cancelled": False},
        "take_writes": take,
        "assign_wave": assign,
        "list_vms": list_all,
        "record_snapshot": lambda _: {"ok": True, "trials": None, "vms_failure": None},
    }
    given = usual | answers | {"create_wave": create_some}
    return play(run_fleet, fleet.write(), given, only_first=True)


def asked(played: Execution) -> list[Any]:
    return [given["ask"] for name, given in played.calls if name == "take_writes"]


def created(played: Execution) -> list[int]:
    """The VMs of each wave."""
    return [len(given["requests"]) for name, given in played.calls if name == "create_wave"]


def times(played: Execution, name: str) -> list[float]:
    return [at for at, (one, _) in zip(played.at, played.calls, strict=True) if one == name]


def test_a_wave_and_its_roles_take_one_ask():
    played = provision(6, granting())
    assert [(ask["roles"], ask["vms"]) for ask in asked(played)] == [(0, 6)]
    assert (created(played), played.call_count("assign_wave")) == ([6], 1)


def test_a_wave_has_as_many_vms_as_were_granted():
    assert created(provision(6, each(granted(0, 4), granting()))) == [4, 2]


def test_each_ask_has_an_id_of_its_own():
    played = provision(6, each(granted(0, 4), granting()))
    first, second = (ask["id"] for ask in asked(played))
    assert first != second


def test_a_fleet_waits_as_long_as_its_grant_says():
    played = provision(6, each(granted(0, 0, retry_after=9.0), granting()))
    first, second = times(played, "take_writes")
    assert second - first >= 9


def test_a_fleet_that_got_none_takes_any_number_next_time():
    """Otherwise many fleets that wait for large waves could wait for ever."""
    fleet = new_fleet(40, max_undead=20, **SECONDS)
    nothing = granted(0, 0, retry_after=1.0)
    played = provision(40, each(granted(0, 10), nothing, nothing, granting()), fleet)
    assert [ask["least"] for ask in asked(played)][:4] == [1, 5, 1, 1]


def test_without_the_database_a_fleet_creates_its_vms():
    played = provision(6, lambda _: UNREACHABLE)
    assert (created(played), played.call_count("take_writes")) == ([6], 1)


def costly(vms: int) -> Any:
    """A fleet whose VMs take 23 writes each."""
    return new_fleet(vms, max_undead=vms, resource_uris=["r"] * 20, **SECONDS)


def test_without_the_database_a_fleet_keeps_to_azures_limits():
    """A burst of 180 writes, then ten a second."""
    played = provision(12, lambda _: UNREACHABLE, costly(12))
    waves = list(zip(times(played, "create_wave"), created(played), strict=True))
    assert sum(vms for _, vms in waves) == 12
    for now, _ in waves:
        assert 23 * sum(vms for at, vms in waves if at <= now) <= 180 + 10 * (now + 1)


@pytest.mark.parametrize(("alone_for", "asks"), [(60, 0), (-1, 1)])
def test_a_fleet_asks_the_database_again_later(alone_for: float, asks: int):
    fleet = new_fleet(6, **SECONDS)
    fleet.writes.alone_until = later(alone_for).isoformat()
    assert provision(6, granting(), fleet).call_count("take_writes") == asks


def test_a_pause_that_another_fleet_met_is_kept():
    paused = granted(0, 0, paused=40.0, retry_after=40.0)
    played = provision(6, each(paused, granting()))
    assert times(played, "create_wave")[0] >= 40
    assert [ask["pause"] for ask in asked(played)] == [0, 0]


def test_a_throttled_fleet_tells_the_others_at_once():
    def refuse(task: Any) -> Any:
        refusals = [{"request": one, "failure": THROTTLED} for one in task["requests"]]
        return {"vms": [], "refusals": refusals}

    played = provision(6, granting(), create_wave=each(refuse, create))
    first, told, again = asked(played)
    assert (first["pause"], told["vms"], again["vms"], again["pause"]) == (0, 0, 6, 0)
    assert 19 <= told["pause"] <= 20
    refused_at, again_at = times(played, "create_wave")
    assert again_at - refused_at >= 20


def test_a_throttled_role_is_told_the_others_too():
    def refuse(task: Any) -> Any:
        tried = {"role_failure": THROTTLED, "next_role_try": later(30).isoformat(), "role_tries": 1}
        return {"vms": [{**vm, **tried} for vm in task["vms"]]}

    played = provision(2, granting(), assign_wave=each(refuse, assign), assign_permissions=retry)
    assert [ask["pause"] > 0 for ask in asked(played)] == [False, True, False]


def retry(_: Any) -> Any:
    return {"ok": True, "assigned": [0], "failures": []}


def test_a_role_that_is_tried_again_is_asked_for():
    fleet = fleet_of("creating", "creating", **SECONDS)
    for vm in fleet.vms.values():
        vm.update({"assigned": [], "roles_settled": False, "role_tries": vm["ordinal"]})
    played = provision(2, granting(), fleet, assign_permissions=retry)
    assert [(ask["roles"], ask["vms"]) for ask in asked(played)] == [(1, 0)]


def test_a_list_that_began_before_a_vm_was_accepted_does_not_count():
    """It need not show the VM. Fleets share LISTs."""
    piece = granted(0, 2, retry_after=3.0)
    played = provision(6, each(piece, piece, granting()))
    lists = [task["max_age"] for name, task in played.calls if name == "list_vms"]
    for at, max_age in zip(times(played, "list_vms"), lists, strict=True):
        accepted_at = [wave for wave in times(played, "create_wave") if wave <= at]
        assert max_age == 0 or at - max_age > max(accepted_at)
