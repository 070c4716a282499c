"""Snapshots: failed ones, and those of many VMs."""

from __future__ import annotations

import json
from typing import Any

from fleet.api.progress import machines
from fleet.model.failure import failure
from fleet.model.vm_list import restored
from orchestrators.fleet import run_fleet
from tests.fleets import fleet_of, order
from tests.orchestrators.play import Execution, play

DISK_FULL = failure("DatabaseUnreachable", "SQLSTATE 53100", "retry", "")
ENDED = {"total": 9, "ready": 0, "running": 0, "complete": 9, "error": 0}
OPEN = {**ENDED, "ready": 9, "complete": 0}
PLAIN = 45 * 1024
"""Bytes of a message that Durable sends without a blob."""


def watched(count: int, stock: Any, left: int | None = None) -> Execution:
    """A fleet from `run` to its end. `stock`: what differs in its snapshots; `left`: how many VMs its
    teardown finds at the end, None: it keeps them.
    """
    fleet = fleet_of(*["running"] * count)
    fleet.order = order(
        run_poll_seconds=30.0, boot_poll_seconds=10.0, created_at="2026-01-01T00:00:00Z",
        n_instances=count, delete_on_complete=False, ssh_public_key="k" * 400, sealed="s" * 800,
    )  # fmt: skip
    fleet.phase = "run"
    for machine in fleet.vms.values():
        machine["name"], machine["roles_settled"] = "powerlift-vm-9007199254740991-0000", True
        machine["role_assigned_at"] = machine["running_at"] = "2026-01-01T00:00:00.123456+00:00"
    shown = {"Succeeded": list(fleet.vms)}
    torn = {"ok": True, "deleted": 0, "left": [], "machines": left, "unreleased": None}
    answers = {
        "was_cancelled": lambda _: {"ok": True, "cancelled": False},
        "list_vms": lambda _: {"ok": True, "states": shown, "identities": {}},
        "record_snapshot": lambda _: {
            "ok": True,
            "trials": ENDED,
            **(stock() if callable(stock) else stock),
        },
        "report_completion": lambda _: {"ok": True},
        "teardown_fleet": lambda _: torn,
    }
    return play(run_fleet, fleet.write(), answers)


def test_trials_are_counted_if_vms_cannot_be_recorded():
    summary = watched(1, {"vms_failure": DISK_FULL}).output["summary"]
    assert (summary["phase"], summary["trials"]) == ("done", ENDED)


def test_unrecorded_vms_are_recorded_by_the_next_snapshot():
    played = watched(1, {"vms_failure": DISK_FULL})
    recorded = [
        len(task["vms"]["machines"]) for name, task in played.calls if name == "record_snapshot"
    ]
    assert recorded == [1, 1]


def test_recorded_vms_are_not_recorded_again():
    played = watched(1, {"vms_failure": None})
    recorded = [
        len(task["vms"]["machines"]) for name, task in played.calls if name == "record_snapshot"
    ]
    assert recorded == [1, 0]


def test_snapshots_of_many_vms_fit_into_plain_messages():
    played = watched(1000, {"vms_failure": None})
    tasks = [task for name, task in played.calls if name == "record_snapshot"]
    sizes = [len(json.dumps(json.dumps(json.dumps(task)))) for task in tasks]
    assert max(sizes) < PLAIN


def test_each_vm_that_met_the_same_error_shows_it():
    """The fleet ends with the first report; the others arrive until the VMs are deleted."""
    errors = [
        {"ordinal": ordinal, "exit_code": 69, "message": "no such package"} for ordinal in (0, 1)
    ]
    reported = iter([errors[:1], errors])
    stock = {"vms_failure": None, "trials": OPEN}
    output = watched(3, lambda: {**stock, "experiment_errors": next(reported)}, left=0).output
    [failed] = output["summary"]["failures"]
    assert (failed["count"], failed["action"]) == (2, "ended the fleet, since every VM would fail")
    counts, missing = output["summary"]["machines"], output["summary"]["missing"]
    assert (counts["failed"], counts["deleted"], missing) == (2, 1, {"PackagesUnavailable": 2})
    shown = machines(order(), restored(order(), output), None)
    codes = [vm["failure"] and vm["failure"]["code"] for vm in shown]
    assert codes == ["PackagesUnavailable", "PackagesUnavailable", None]


def test_only_one_of_many_messages_counts_the_trials():
    played = watched(1000, {"vms_failure": None})
    first = [task["counts_trials"] for name, task in played.calls if name == "record_snapshot"][:14]
    assert first == [True, *[False] * 13]
