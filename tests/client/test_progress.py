"""The progress display of `join`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from powerlift_fleet import progress
from rich.console import Console

from tests.client.both import fleet_status as status

FAILURE = {
    "code": "SkuNotAvailable",
    "count": 3,
    "message": "No <room>.",
    "action": "tried the next zone",
    "advice": "List more zones.",
}


@contextmanager
def bars() -> Iterator[tuple[progress.Bars, io.StringIO]]:
    out = io.StringIO()
    to = Console(file=out, force_terminal=True, width=100, force_jupyter=False)
    with progress.bars(to) as rich_progress:
        yield progress.Bars(rich_progress), out


def test_a_line_shows_phase_vms_trials_and_failures() -> None:
    assert progress.line(status(failures=[FAILURE])) == (
        "fleet-7 run; VMs 2/2 (2 running); trials 3/8 (2 complete, 1 failed, 2 running, 3 ready); "
        "failures: 3 x SkuNotAvailable"
    )


def test_unknown_trials_are_omitted() -> None:
    assert "trials" not in progress.line(status("plan", trials=None))


def test_lines_show_each_phase_once(capsys: pytest.CaptureFixture[str]) -> None:
    shown = progress.Lines()
    for phase in ("create", "create", "run", "run", "done"):
        shown.show(status(phase, trials=None))
    assert [line.split(";")[0] for line in capsys.readouterr().err.splitlines()] == [
        "fleet-7 create", "fleet-7 run", "fleet-7 done",
    ]  # fmt: skip


def test_lines_show_changes_within_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    shown = progress.Lines(interval=0.0)
    for complete in (2, 2, 3):
        trials = {"total": 8, "ready": 3, "running": 2, "complete": complete, "error": 1}
        shown.show(status(trials=trials))
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_failures_and_warnings_are_shown_once(
    terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def show(shown: progress.Display) -> None:
        for _ in range(3):
            shown.show(status(failures=[FAILURE], warnings=["B-series CPUs are throttled."]))

    if terminal:
        with bars() as (shown, out):
            show(shown)
        text = out.getvalue()
    else:
        show(progress.Lines())
        text = capsys.readouterr().err
    sentence = "SkuNotAvailable: No <room>. Action taken: tried the next zone. List more zones."
    assert (text.count(sentence), text.count("Warning: B-series CPUs are throttled.")) == (1, 1)


def test_a_terminal_has_a_bar_for_vms_and_one_for_trials() -> None:
    with bars() as (shown, out):
        shown.show(status())
    assert "fleet-7: run" in out.getvalue()
    assert "3/8, 2 complete, 1 failed" in out.getvalue()


def test_failed_trials_are_reported_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    shown = progress.Lines()
    shown.show(status("run"))
    before = capsys.readouterr().err
    shown.show(status("done"))
    said = "1 of 8 trials failed: run.status(), or trial_status(store, NAME)"
    assert (said in before, said in capsys.readouterr().err) == (False, True)


def test_an_interrupt_prints_how_to_cancel(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress.display(lambda: "fleet-7"):
        raise KeyboardInterrupt
    assert "`powerlift-fleet cancel fleet-7`" in capsys.readouterr().err


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display(lambda: "fleet-7", quiet=True) as shown:
        shown.show(status())
    assert capsys.readouterr() == ("", "")
