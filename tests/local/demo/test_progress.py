from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from local.demo.progress import Bar, display, line, trial_bar, vm_bar


def status(phase: str = "run", **parts: Any) -> dict[str, Any]:
    counts = {
        "wanted": 4,
        "accepted": 4,
        "role_assigned": 4,
        "running": 3,
        "failed": 0,
        "deleted": 1,
    }
    done = {"total": 24, "ready": 10, "running": 3, "complete": 10, "error": 1}
    return {"phase": phase, "machines": counts, "trials": done, **parts}


def test_running_and_deleted_vms_count_as_done() -> None:
    assert vm_bar(status()) == Bar(4, 4, "4 accepted, 3 running, 1 deleted")


def test_complete_and_failed_trials_count_as_done() -> None:
    assert trial_bar(status()) == Bar(11, 24, "10 ready, 3 running, 1 error")


def test_the_number_of_trials_is_unknown_at_first() -> None:
    assert "trials 0/?" in line(status("plan", trials=None))


def test_a_line_names_the_phase_and_both_counts() -> None:
    assert line(status()) == (
        "run           VMs 4/4 (4 accepted, 3 running, 1 deleted)"
        "  trials 11/24 (10 ready, 3 running, 1 error)"
    )


def test_a_file_gets_one_line_per_change() -> None:
    out = io.StringIO()

    with display(Console(file=out)) as shown:
        for phase in ("create", "create", "run", "run"):
            shown.show(status(phase))

    assert len(out.getvalue().splitlines()) == 2


def test_a_terminal_gets_bars() -> None:
    out = io.StringIO()

    with display(Console(file=out, force_terminal=True, width=120)) as shown:
        shown.show(status())

    assert "━" in out.getvalue()
