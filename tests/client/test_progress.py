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


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=100, force_jupyter=False), out


@contextmanager
def bars() -> Iterator[tuple[progress.Bars, io.StringIO]]:
    to, out = console(terminal=True)
    with progress.bars(to) as rich_progress:
        yield progress.Bars(rich_progress), out


def lines() -> tuple[progress.Lines, io.StringIO]:
    to, out = console(terminal=False)
    return progress.Lines(to), out


def test_a_line_shows_phase_vms_trials_and_failures() -> None:
    assert progress.line(status(failures=[FAILURE])) == (
        "fleet-7 run; VMs 2/2 (2 running); trials 3/8 (2 complete, 1 failed, 2 running, 3 ready); "
        "failures: 3 x SkuNotAvailable"
    )


def test_unknown_trials_are_omitted() -> None:
    assert "trials" not in progress.line(status("plan", trials=None))


def test_lines_show_each_phase_once() -> None:
    shown, out = lines()
    for phase in ("create", "create", "run", "run", "done"):
        shown.show(status(phase, trials=None))
    assert [line.split(";")[0] for line in out.getvalue().splitlines()] == [
        "fleet-7 create", "fleet-7 run", "fleet-7 done",
    ]  # fmt: skip


def test_lines_show_changes_within_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, out = lines()
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    for complete in (2, 2, 3):
        trials = {"total": 8, "ready": 3, "running": 2, "complete": complete, "error": 1}
        shown.show(status(trials=trials))
    assert len(out.getvalue().splitlines()) == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_failures_and_warnings_are_shown_once(terminal: bool) -> None:
    def show(shown: progress.Display) -> None:
        for _ in range(3):
            shown.show(status(failures=[FAILURE], warnings=["B-series CPUs are throttled."]))

    if terminal:
        with bars() as (shown, out):
            show(shown)
    else:
        shown_lines, out = lines()
        show(shown_lines)
    sentence = "SkuNotAvailable: No <room>. Action taken: tried the next zone. List more zones."
    text = out.getvalue()
    assert (text.count(sentence), text.count("Warning: B-series CPUs are throttled.")) == (1, 1)


def test_a_terminal_has_a_bar_for_vms_and_one_for_trials() -> None:
    with bars() as (shown, out):
        shown.show(status())
    assert "fleet-7: run" in out.getvalue()
    assert "3/8, 2 complete, 1 failed" in out.getvalue()


def test_a_notebook_gets_an_escaped_table() -> None:
    table = progress.table(status(failures=[{**FAILURE, "code": "<b>"}]))
    assert '<progress value="3" max="8"></progress>' in table
    assert "3 x &lt;b&gt;" in table


def test_failed_trials_are_reported_at_the_end() -> None:
    shown, out = lines()
    shown.show(status("run"))
    assert "errmsg" not in out.getvalue()
    shown.show(status("done"))
    assert "1 of 8 trials failed: run.status(), or trial_status(store, NAME)" in out.getvalue()
    assert "1 of 8 trials failed: run.status()" in progress.table(status("done"))


def test_an_interrupt_prints_how_to_cancel(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress.display("fleet-7"):
        raise KeyboardInterrupt
    assert "`powerlift-fleet cancel fleet-7`" in capsys.readouterr().err


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display("fleet-7", quiet=True) as shown:
        shown.show(status())
    assert capsys.readouterr() == ("", "")
