"""The pages' text, from their modules."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.money import MONEY
from tests.view.conftest import Call
from tests.view.scenes import Refused, Scene

START = 1767225600000
"""2026-01-01, in milliseconds."""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (38, "38 s"), (250, "4 min 10 s"), (7500, "2 h 5 min"), (273600, "3 d 4 h")],
)  # fmt: skip
def test_durations(call: Call, seconds: float, words: str):
    assert call("common/format", "duration", seconds) == words


def test_amounts_are_rounded_as_on_the_command_line(call: Call):
    shown = {amount: call("common/format", "money", amount, "USD") for amount in MONEY}
    other = call("common/format", "money", 2, "no currency")
    assert (shown, other) == (MONEY, "2.00 no currency")


def machine(**changes: Any) -> dict[str, Any]:
    names = ("created", "role_assigned", "running", "working", "first_trial", "ended", "deleted")
    times = dict.fromkeys(f"{name}_at" for name in names)
    return {"ordinal": 0, "state": "running", "replaces": None, "failure": None, **times, **changes}


@pytest.mark.parametrize(
    ("seconds", "pieces"),
    [
        ({}, []),
        ({"created": 1}, [("accepted", 1, 9)]),
        (  # a VM that installs packages
            {"created": 1, "running": 3, "working": 5},
            [("accepted", 1, 3), ("running", 3, 5), ("installing", 5, 9)],
        ),
        (
            {"created": 1, "role_assigned": 2, "running": 3, "working": 5, "first_trial": 6},
            [
                ("accepted", 1, 2),
                ("role_assigned", 2, 3),
                ("running", 3, 5),
                ("installing", 5, 6),
                ("working", 6, 9),
            ],
        ),
        (  # a role that came late
            {"created": 1, "role_assigned": 6, "running": 3},
            [("accepted", 1, 3), ("running", 3, 9)],
        ),
        (
            {"created": 1, "running": 3, "ended": 5, "deleted": 7},
            [("accepted", 1, 3), ("running", 3, 5), ("ended", 5, 7)],
        ),
    ],
)
def test_segments(call: Call, seconds: dict[str, int], pieces: list[Any]):
    times = {f"{name}_at": f"2026-01-01T00:00:{at:02}Z" for name, at in seconds.items()}
    state = "deleted" if "deleted" in seconds else "running"
    found = call("fleet/vms/rows", "segmentsOf", machine(state=state, **times), START + 9000)
    segments = [(one["kind"], one["from"] - START, one["to"] - START) for one in found]
    assert segments == [(kind, 1000 * begin, 1000 * end) for kind, begin, end in pieces]


IDLE = {"code": "MaxCostReached", "message": "The VM was idle", "action": "gave up on this VM"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"created_at": "x"}, "running"),
        ({"working_at": "x"}, "installing"),
        ({"working_at": "x", "first_trial_at": "x"}, "working"),
        ({"state": "failed", "failure": IDLE}, "failed"),
        ({"state": "deleted", "failure": IDLE}, "deleted"),
    ],
)
def test_the_stage_of_a_vm(call: Call, changes: dict[str, Any], expected: str):
    assert call("common/describe", "stage", machine(**changes)) == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("powerlift-vm-7-0003 was evicted", "powerlift-vm-7-0003 was evicted."),
        ("Azure has no room …", "Azure has no room …"),
        ("", ""),
    ],
)
def test_a_message_ends_with_a_stop_and_keeps_its_first_letter(
    call: Call, words: str, sentence: str
):
    assert call("common/describe", "stopped", words) == sentence


def at(seconds: float | None) -> str | None:
    moment = datetime.fromtimestamp(START / 1000 + (seconds or 0), UTC)
    return None if seconds is None else moment.isoformat()


DRAINS = [{"code": "MaxCostReached", "count": 1}]


@pytest.mark.parametrize(
    ("end", "deadline", "failures", "words"),
    [
        (None, 9000, [], "It is too early to predict the end."),
        (600, 9000, [], "Expected to finish at .*, in about 10 minutes."),
        (600, None, [], "Expected to finish at .*, in about 10 minutes."),
        (
            600,
            300,
            [],
            "At this pace, the deadline at .*, in about 5 minutes, comes before the last",
        ),
        (None, -1, [], "The deadline has passed: the remaining VMs are being deleted."),
        (None, 9000, DRAINS, "Close to its max_cost, the fleet starts no more trials."),
    ],
)
def test_the_summary_says_what_ends_the_fleet(
    call: Call, end: float | None, deadline: float | None, failures: list[Any], words: str
):
    status = {**Scene(vms=12, trials=900).status(), "deadline": at(deadline), "failures": failures}
    progress = {"expected_end": at(end)}
    assert re.search(words, call("common/describe", "sentence", status, progress, [], START))


def test_a_deleted_vm_without_a_deletion_time_ends_at_its_last_time(call: Call):
    deleted = machine(state="deleted", created_at="2026-01-01T00:00:01Z")
    found = call("fleet/vms/rows", "segmentsOf", deleted, START + 9000)
    assert [(one["from"] - START, one["to"] - START) for one in found] == [(1000, 1000)]


def test_a_replacement_follows_the_vm_it_replaces(call: Call):
    line = [machine(ordinal=n, replaces=of) for n, of in ((0, None), (1, None), (2, 0), (3, 2))]
    rows = call("fleet/vms/rows", "rowsOf", line, 0)
    assert [(row["machine"]["ordinal"], row["depth"], row["replacement"]) for row in rows] == [
        (0, 0, 2), (2, 1, 3), (3, 2, None), (1, 0, None),
    ]  # fmt: skip


def test_circular_replacements_are_shown_once(call: Call):
    rows = call(
        "fleet/vms/rows",
        "rowsOf",
        [machine(ordinal=0, replaces=1), machine(ordinal=1, replaces=0)],
        0,
    )
    assert sorted(row["machine"]["ordinal"] for row in rows) == [0, 1]


def test_the_summary_of_a_running_fleet(call: Call):
    scene = Scene(vms=12, trials=900)
    words = call(
        "common/describe",
        "sentence",
        scene.status(),
        scene.progress(),
        scene.machines,
        scene.now.timestamp() * 1000,
    )
    assert words.startswith(
        "12 of 12 VMs are running. 533 of 900 trials are done, 17 of them failed."
    )


def test_the_summary_counts_replaced_vms(call: Call):
    status = Scene(vms=12).status()
    status["missing"] = {"VmLost": 3}
    assert call("common/describe", "sentence", status, None, [], 0).endswith(
        "4 VMs failed; 1 was replaced."
    )


def test_the_summary_reports_missing_updates(call: Call):
    status = {**Scene(vms=12).status(), "stale_seconds": 80}
    assert call("common/describe", "sentence", status, None, [], 0).endswith(
        "No update for 1 min 20 s; the host may be restarting."
    )


def trials(**counts: int) -> dict[str, int]:
    return {"error": 0, **counts}


@pytest.mark.parametrize(
    ("changes", "name", "tone"),
    [
        ({"phase": "done", "outcome": "succeeded"}, "Done", "good"),
        ({"phase": "done", "outcome": "some_trials_failed"}, "Done, some trials failed", "care"),
        ({"phase": "done", "outcome": "all_trials_failed"}, "Done, all trials failed", "bad"),
        ({"phase": "teardown", "outcome": "all_trials_failed"}, "Deleting VMs", "care"),
        ({"phase": "run", "trials": trials(running=0, complete=0)}, "Installing packages", "live"),
        ({"phase": "run", "trials": trials(running=1, complete=0)}, "Running trials", "live"),
        ({"phase": "run", "trials": trials(running=0, complete=1)}, "Running trials", "live"),
        ({"phase": "new"}, "new", "quiet"),
    ],
)  # fmt: skip
def test_the_phase_says_what_happens(call: Call, changes: dict[str, Any], name: str, tone: str):
    found = call("common/describe", "phaseOf", changes)
    assert (found["name"], found["tone"]) == (name, tone)


def test_the_counts_on_the_page_add_up(call: Call):
    counts = call("common/describe", "vmCounts", Refused().status())
    parts = ("pending", "creating", "running", "deleted", "missing")
    assert (counts["wanted"], counts["refused"]) == (sum(counts[part] for part in parts), 3)
