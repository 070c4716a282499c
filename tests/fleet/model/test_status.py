"""The custom status and its size, the counts of VMs, and `stale_seconds`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.api.instance_status import (
    fleet_from_instance,
    outcome,
    stale_seconds,
    starts_trials,
    teardown_instance_id,
    vm_records,
)
from fleet.model.custom_status import LONGEST, custom_status
from fleet.model.failure import failure
from fleet.model.placement import cooldown
from fleet.model.state import FleetState
from fleet.model.vm_counts import missing, vm_counts, why_no_more
from fleet.model.vm_list import shortened
from tests.fleets import (
    NO_CAPACITY,
    NOW,
    UNEXPECTED,
    UNRECOGNISED,
    failing,
    fleet_of,
    later,
    machine,
    new_fleet,
    order,
    placement,
)


def many_failures(
    placements: int = 40, codes: int = 5, warnings: int = 30, failures: int = 100
) -> FleetState:
    """A fleet with many long failures. The first ones are the most frequent."""
    fleet = fleet_of("running", created_at="2026-01-01T00:00:00.000000Z")
    for at in range(placements):
        failed = {f"SomeCodeOfAzures{code:03}": 5 for code in range(codes)}
        label = f"eastus{at}/1 Standard_D2s_v5 Spot"
        fleet.placements.counts[label] = {"accepted": 7, "failed": failed}
    fleet.warnings = [f"check {at}: {'long ' * 100}" for at in range(warnings)]
    for at in range(failures):
        why = failure(f"SomeFailure{at:03}", "m" * 400, "fail_vm", "a" * 100)
        for _ in range(2 if at < 3 else 1):
            fleet.failures.add(why, "gave up on this VM")
    fleet.reason = failure("SomeFailure000", "r" * 5000, "fail_fleet", "a" * 2000)
    return fleet


def size(shown: Any) -> int:
    return len(json.dumps(shown))


@pytest.mark.parametrize(
    "fleet",
    [
        many_failures(),
        many_failures(codes=3000),
        many_failures(placements=1, warnings=1, failures=1),
        many_failures(placements=0, warnings=0),
    ],
    ids=["much of all", "many codes", "one of each", "failures alone"],
)
def test_the_status_always_fits_the_limit(fleet: FleetState):
    assert size(custom_status(fleet)) <= LONGEST


def test_messages_are_truncated_if_nothing_is_left_to_drop():
    fleet = many_failures(1, 1, 1, 1)
    fleet.failures.by_code["SomeFailure000"]["message"] = "m" * 9000
    shown = custom_status(fleet)
    assert (size(shown) <= LONGEST, shown["created_at"]) == (True, fleet.order["created_at"])


def test_one_entry_of_each_part_is_kept():
    shown = custom_status(many_failures(codes=3000))
    assert [len(shown[part]) > 0 for part in ("warnings", "placements", "failures")] == [True] * 3


def test_warnings_are_dropped_before_placements_and_placements_before_failures():
    shown = custom_status(many_failures())
    lengths = [len(shown[part]) for part in ("warnings", "placements", "failures")]
    assert (lengths[0], lengths[2]) == (1, 8)


def test_the_most_frequent_failures_are_kept():
    shown = custom_status(many_failures())
    assert [one["code"] for one in shown["failures"]][:3] == [
        "SomeFailure000",
        "SomeFailure001",
        "SomeFailure002",
    ]


def test_a_warning_is_truncated():
    assert len(custom_status(many_failures())["warnings"][0]) == 200


def test_a_status_that_fits_is_unchanged():
    fleet = fleet_of("running")
    fleet.warnings = ["burstable: a B size."]
    fleet.reason = failure("Code", "m" * 300, "fail_fleet", "advice")
    shown = custom_status(fleet)
    assert (shown["warnings"], shown["reason"]) == (fleet.warnings, fleet.reason)


def test_the_least_frequent_codes_are_counted_together():
    fleet = fleet_of("running")
    fleet.demand.given_up = {f"Code{at:02}": 100 - at for at in range(14)}
    shown = custom_status(fleet)["missing"]
    assert (len(shown), shown["Code00"], shown["others"]) == (13, 100, 88 + 87)


def test_the_latest_failure_explains_why_no_more_vms_are_requested():
    fleet = fleet_of("running")
    for seconds, code in ((0, "SkuNotAvailable"), (900, "AllocationFailed"), (60, "SpotEvicted")):
        why = {**failure(code, "", "move", ""), "scope": "location", "cool_down": 60.0}
        fleet.placements.cooldowns.append(
            cooldown(placement(), why, order()["sizes"], later(seconds))
        )  # type: ignore[arg-type]
    assert (fleet.placements.cooldowns[0]["since"], why_no_more(fleet)) == (
        NOW.isoformat(),
        "AllocationFailed",
    )


def instance(state: str, phase: str = "run", **changes: Any) -> dict[str, Any]:
    """A durable instance of a fleet that polls every 30 s in phase `run`; last updated at NOW."""
    usual = {
        "runtimeStatus": state,
        "instanceId": "fleet-7",
        "input": dict(order(run_poll_seconds=30.0)),
        "output": None,
        "customStatus": {"phase": phase},
    }
    times = {"createdTime": NOW.isoformat(), "lastUpdatedTime": NOW.isoformat()}
    return {**usual, **times, **changes}


@pytest.mark.parametrize(
    ("state", "phase", "seconds", "expected"),
    [
        ("Running", "run", 60, None),
        ("Running", "run", 80.5, 80),
        ("Running", "create", 40, None),
        ("Running", "create", 41, 41),
        ("Pending", "plan", 80, 80),
        ("Completed", "done", 999, None),
    ],
)
def test_a_fleet_without_updates_has_stale_seconds(
    state: str, phase: str, seconds: float, expected: int | None
):
    assert (
        fleet_from_instance(instance(state, phase), now=later(seconds))["stale_seconds"] == expected
    )


DRAINS = [{"code": "MaxCostReached", "count": 1, "message": "", "action": "", "advice": ""}]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "run"}, True),
        ({"phase": "run", "deadline": later(1).isoformat()}, True),
        ({"phase": "run", "deadline": later(0).isoformat()}, False),
        ({"phase": "run", "failures": DRAINS}, False),
        ({"phase": "teardown"}, False),
        ({"phase": "done"}, False),
    ],
)
def test_whether_a_fleet_still_starts_trials(status: dict[str, Any], expected: bool):
    fleet = fleet_from_instance(instance("Running", customStatus=status), now=NOW)
    assert starts_trials(fleet, NOW) is expected


@pytest.mark.parametrize(
    ("state", "output"),
    [("Failed", "Non-Deterministic workflow detected"), ("Terminated", "maintenance")],
)
def test_a_fleet_whose_orchestration_was_ended_has_failed_with_advice(state: str, output: str):
    """Its output is a text: the request for it once failed."""
    shown = fleet_from_instance(instance(state, "run", output=output), now=NOW)
    reason = shown["reason"] or {}
    assert (shown["phase"], shown["summary"]) == ("failed", None)
    assert (reason.get("code"), "Cancel" in reason.get("advice", "")) == (
        "OrchestrationEnded",
        True,
    )


def test_a_reason_has_the_documented_members_only():
    fleet = fleet_of("running")
    fleet.reason = NO_CAPACITY
    status = json.loads(json.dumps(custom_status(fleet)))
    ended = instance("Completed", "failed", customStatus=status, output={"summary": status})
    shown = fleet_from_instance(ended, now=NOW)
    assert shown["summary"] is not None
    reasons = [shown["reason"], shown["summary"]["reason"]]
    assert [set(reason or ()) for reason in reasons] == [
        {"code", "message", "action", "advice"}
    ] * 2


def test_the_vms_of_a_fleet_whose_orchestration_was_ended_are_those_of_its_last_history():
    state = {"order": order(), **shortened(order(), [machine(0)])}
    ended = instance("Terminated", "run", input=state, output="maintenance")
    assert vm_records(ended) == [machine(0)]


def test_a_longer_poll_interval_allows_a_longer_silence():
    slow = instance("Running", input=dict(order(run_poll_seconds=300.0)))
    assert [stale_seconds(slow, later(seconds)) for seconds in (330, 331)] == [None, 331]


def test_updates_of_the_awaited_teardown_count_as_the_fleets():
    awaited = instance("Running", lastUpdatedTime=later(100).isoformat())
    fleet = instance("Running", "teardown")
    seconds = [stale_seconds(fleet, later(at), awaited) for at in (140, 150)]
    assert seconds == [None, 50]


@pytest.mark.parametrize(("phase", "awaited"), [("create", None), ("teardown", "teardown-7")])
def test_the_teardown_that_a_fleet_awaits(phase: str, awaited: str | None):
    assert teardown_instance_id(instance("Running", phase)) == awaited


def test_a_teardown_after_the_end_has_its_own_updates():
    task = {"order": order(), "keep_machines": False}
    late = later(100).isoformat()
    teardown = instance("Running", input=task, customStatus=None, lastUpdatedTime=late)
    expected = [
        fleet_from_instance(instance("Completed", "done"), teardown, later(seconds))[
            "stale_seconds"
        ]
        for seconds in (130, 190)
    ]
    assert expected == [None, 90]


def test_the_status_contains_the_version():
    fleet = fleet_of("running")
    fleet.version = "1.0"
    shown = fleet_from_instance(instance("Running", customStatus=custom_status(fleet)))
    assert shown["version"] == "1.0"


def test_the_status_of_a_large_fleet_is_small():
    fleet = fleet_of(*["running"] * 5000)
    for code in range(100):
        fleet.failures.add(failure(f"Code{code}", "m" * 400, "fail_vm", "a" * 100), "gave it up")
    assert len(json.dumps(custom_status(fleet))) < 8000  # UTF-16 doubles it; the limit is 16 KB


def test_failures_are_counted_by_code():
    fleet = fleet_of("running")
    for _ in range(3):
        fleet.failures.add(failure("SkuNotAvailable", "text", "fail_vm", "advice"), "gave it up")
    assert custom_status(fleet)["failures"][0]["count"] == 3


def test_every_missing_vm_is_explained():
    fleet = failing(
        new_fleet(9),
        UNEXPECTED,
        NO_CAPACITY,
        NO_CAPACITY,
        failure("AuthorizationFailed", "no", "fail_fleet", ""),
    )
    fleet.phase = "run"
    assert (missing(fleet), len(fleet.living_vms())) == (
        {"ValueError": 1, "AuthorizationFailed": 8},
        0,
    )


@pytest.mark.parametrize(
    ("wait", "phase", "missing_for"),
    [
        (5.0, "create", "TooManyRequests"),
        (5.0, "teardown", "DeadlineReached"),
        (5.0, "failed", "DeadlineReached"),
        (90.0, "failed", "TooManyRequests"),
    ],
)
def test_a_vm_that_was_throttled_until_its_fleet_ended_is_explained(
    wait: float, phase: str, missing_for: str
):
    """Throttling is a failure only if it takes long."""
    fleet = fleet_of("running")
    fleet.order["n_instances"], fleet.demand.unrequested = 2, 1
    [request] = fleet.demand.request([placement()])
    fleet.refuse(request, failure("TooManyRequests", "slow", "wait", "", wait), NOW)
    fleet.phase, fleet.reason = phase, failure("DeadlineReached", "text", "fail_fleet", "advice")
    assert missing(fleet) == {missing_for: 1}
    reported = {"DeadlineReached", *fleet.failures.by_code}
    assert phase == "create" or missing_for in reported


@pytest.mark.parametrize("phase", ["teardown", "cancelled"])
def test_the_missing_vms_of_a_cancelled_fleet_were_cancelled(phase: str):
    fleet = fleet_of("running")
    fleet.order["n_instances"], fleet.demand.unrequested = 3, 2
    fleet.phase, fleet.ended_in = phase, "create"
    assert missing(fleet) == {"Cancelled": 2}


def test_the_status_counts_by_placement_and_code():
    fleet = failing(new_fleet(2), NO_CAPACITY, NO_CAPACITY)
    assert custom_status(fleet)["placements"] == [
        {"placement": "eastus Standard_D2s_v5", "accepted": 2, "failed": {"AllocationFailed": 2}}
    ]


def test_the_counts_of_vms_add_up():
    """Two VMs that run, one that boots, one that was evicted and one that Azure refused; two to come."""
    fleet = fleet_of("running", "running", "creating", "deleted", "deleted")
    fleet.phase = "create"
    fleet.order["n_instances"] = 7
    fleet.demand.unrequested = 2
    fleet.fail_vm(3, NO_CAPACITY, NOW, ran=True)
    [request] = fleet.demand.request([placement()])
    fleet.refuse(request, UNRECOGNISED, NOW)
    counts, absent = vm_counts(fleet), sum(missing(fleet).values())
    states = ("creating", "running", "failed", "deleted")
    assert [counts[one] for one in states] == [1, 2, 1, 1]
    assert (counts["refused"], counts["pending"], absent) == (1, 2, 1)
    assert counts["accepted"] == sum(counts[one] for one in states)
    in_wanted = ("pending", "creating", "running", "deleted")
    assert counts["wanted"] == absent + sum(counts[one] for one in in_wanted)


@pytest.mark.parametrize(
    ("phase", "complete", "error", "expected"),
    [
        ("run", 0, 9, None),
        ("done", 9, 0, "succeeded"),
        ("done", 8, 1, "some_trials_failed"),
        ("done", 0, 9, "all_trials_failed"),
        ("failed", 0, 9, "failed"),
        ("cancelled", 9, 0, "cancelled"),
    ],
)
def test_the_outcome_tells_failed_trials_apart(phase, complete, error, expected):
    assert outcome(phase, {"complete": complete, "error": error}) == expected
