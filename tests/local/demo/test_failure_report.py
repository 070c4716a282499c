"""The demo's report of a fleet's warnings and failures."""

from __future__ import annotations

from local.demo.failure_report import lines

NO_FAILURES = {"warnings": [], "failures": [], "missing": {}}


def test_a_fleet_without_failures() -> None:
    assert list(lines(NO_FAILURES)) == []


def test_a_failure_has_its_action_and_advice() -> None:
    group = {
        "code": "SkuNotAvailable",
        "count": 2,
        "message": "No such size here.",
        "action": "looked elsewhere",
        "advice": "List more zones.",
    }
    assert list(lines({**NO_FAILURES, "failures": [group]})) == [
        "SkuNotAvailable, 2 times: No such size here.",
        "  The fleet looked elsewhere. List more zones.",
    ]


def test_missing_vms_have_their_reason() -> None:
    fleet = {**NO_FAILURES, "missing": {"QuotaTooSmall": 1, "SubnetIsFull": 3}}
    assert list(lines(fleet)) == [
        "Missing: 1 VM, for QuotaTooSmall",
        "Missing: 3 VMs, for SubnetIsFull",
    ]


def test_a_warning_of_the_plan() -> None:
    assert list(lines({**NO_FAILURES, "warnings": ["burstable: a B size."]})) == [
        "Warning: burstable: a B size."
    ]
