"""What the demo tells of a fleet that met bad weather."""

from __future__ import annotations

from local.demo.failure_report import lines

QUIET = {"warnings": [], "failures": [], "missing": {}}


def test_nothing_is_told_of_a_fleet_that_had_none() -> None:
    assert list(lines(QUIET)) == []


def test_a_failure_is_told_with_what_was_done_and_what_to_do() -> None:
    group = {
        "code": "SkuNotAvailable",
        "count": 2,
        "message": "No such size here.",
        "action": "looked elsewhere",
        "advice": "List more zones.",
    }
    assert list(lines({**QUIET, "failures": [group]})) == [
        "SkuNotAvailable, 2 times: No such size here.",
        "  The fleet looked elsewhere. List more zones.",
    ]


def test_missing_vms_are_told_by_their_reason() -> None:
    fleet = {**QUIET, "missing": {"QuotaTooSmall": 1, "SubnetIsFull": 3}}
    assert list(lines(fleet)) == [
        "Missing: 1 VM, for QuotaTooSmall",
        "Missing: 3 VMs, for SubnetIsFull",
    ]


def test_a_warning_of_the_plan_is_told() -> None:
    assert list(lines({**QUIET, "warnings": ["burstable: a B size."]})) == [
        "Warning: burstable: a B size."
    ]
