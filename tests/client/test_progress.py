"""What a waiting user sees of a fleet."""

from __future__ import annotations

import io

import pytest
from powerlift_fleet import progress
from rich.console import Console

from tests.client.both import status

FAILURE = {
    "code": "SkuNotAvailable",
    "count": 3,
    "message": "No <room>.",
    "action": "went to another place",
    "advice": "List more zones.",
}


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=100, force_jupyter=False), out


def test_a_line_tells_phase_vms_trials_and_failures() -> None:
    assert progress.line("fleet-7", status(failures=[FAILURE])) == (
        "fleet-7 run; VMs 2/2 (2 running); trials 3/8 (2 running, 1 with an error); "
        "failures: 3 x SkuNotAvailable"
    )


def test_trials_that_nobody_has_counted_yet_are_left_out() -> None:
    assert "trials" not in progress.line("fleet-7", status("plan", trials=None))


def test_off_a_terminal_a_phase_is_one_line_however_often_it_is_looked_at() -> None:
    to, out = console(terminal=False)
    with progress._lines("fleet-7", to) as shown:
        for phase in ("create", "create", "run", "run", "done"):
            shown.show(status(phase, trials=None))
    assert [line.split(";")[0] for line in out.getvalue().splitlines()] == [
        "fleet-7 create", "fleet-7 run", "fleet-7 done",
    ]  # fmt: skip


def test_within_a_phase_a_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    to, out = console(terminal=False)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with progress._lines("fleet-7", to) as shown:
        for complete in (2, 2, 3):
            trials = {"total": 8, "ready": 3, "running": 2, "complete": complete, "error": 1}
            shown.show(status(trials=trials))
    assert len(out.getvalue().splitlines()) == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failure_and_a_warning_are_told_once_in_words(terminal: bool) -> None:
    to, out = console(terminal)
    make = progress._bars if terminal else progress._lines
    with make("fleet-7", to) as shown:
        for _ in range(3):
            shown.show(status(failures=[FAILURE], warnings=["B-series CPUs measure badly."]))
    told = out.getvalue()
    sentence = "SkuNotAvailable: No <room>. The fleet went to another place. List more zones."
    assert (told.count(sentence), told.count("Warning: B-series CPUs measure badly.")) == (1, 1)


def test_a_terminal_has_a_bar_for_the_vms_and_one_for_the_trials() -> None:
    to, out = console(terminal=True)
    with progress._bars("fleet-7", to) as shown:
        shown.show(status())
    assert "fleet-7: run" in out.getvalue()
    assert "3/8, 2 running, 1 with an error" in out.getvalue()


def test_a_notebook_gets_a_table_in_which_nothing_is_markup() -> None:
    page = progress.page("fleet-7", status(failures=[{**FAILURE, "code": "<b>"}]))
    assert '<progress value="3" max="8"></progress>' in page
    assert "3 x &lt;b&gt;" in page


def test_at_the_end_trials_with_an_error_are_told_with_where_to_read_it() -> None:
    to, out = console(terminal=False)
    with progress._lines("fleet-7", to) as shown:
        shown.show(status("run"))
        assert "errmsg" not in out.getvalue()
        shown.show(status("done"))
    sentence = "1 of 8 trials ended with an error: the errmsg of each is in Powerlift's"
    assert (sentence in out.getvalue(), sentence in progress.page("fleet-7", status("done"))) == (
        True, True,
    )  # fmt: skip


def test_who_interrupts_is_told_that_the_fleet_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress.display("fleet-7"):
        raise KeyboardInterrupt
    assert "`powerlift-fleet cancel fleet-7`" in capsys.readouterr().err


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display("fleet-7", quiet=True) as shown:
        shown.show(status())
    assert capsys.readouterr() == ("", "")
