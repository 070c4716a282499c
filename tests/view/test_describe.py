"""The pages' text, from their modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.money import MONEY
from tests.view.conftest import Open
from tests.view.scenes import Refused, Scene
from tests.view.stage import Stage

Call = Callable[..., Any]

START = 1767225600000
"""2026-01-01, in milliseconds."""


@pytest.fixture
def call(stage: Stage, visit: Open) -> Call:
    """`call(module, function, *arguments)`: what a function of one of the page's modules answers."""
    page = visit(f"{stage.url}/sources/common/describe.js").page

    def ask(module: str, function: str, *arguments: Any) -> Any:
        return page.evaluate(
            "([module, name, args]) => import(`/sources/${module}.js`).then(m => m[name](...args))",
            [module, function, arguments],
        )

    return ask


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
    times = dict.fromkeys(
        ("created_at", "role_assigned_at", "running_at", "working_at", "ended_at", "deleted_at")
    )
    return {"ordinal": 0, "state": "running", "replaces": None, "failure": None, **times, **changes}


@pytest.mark.parametrize(
    ("seconds", "pieces"),
    [
        ({}, []),
        ({"created": 1}, [("accepted", 1, 9)]),
        (
            {"created": 1, "role_assigned": 2, "running": 3, "working": 5},
            [("accepted", 1, 2), ("role_assigned", 2, 3), ("running", 3, 5), ("working", 5, 9)],
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
