"""Shows a fleet's progress: bars on a terminal, one output in a notebook, lines elsewhere."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from powerlift_fleet.api.errors import sentence
from powerlift_fleet.api.responses import FleetStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

LINE_SECONDS = 60.0
"""Minimum between two lines of the same phase."""


class Bar(NamedTuple):
    """`total` is 0 while it is unknown."""

    done: int
    total: int
    detail: str

    @property
    def text(self) -> str:
        share = f"{self.done}/{self.total}" if self.total else ""
        return ", ".join(filter(None, [share, self.detail]))


class Display(Protocol):
    def show(self, status: FleetStatus) -> None: ...


@contextmanager
def display(fleet: str, quiet: bool = False) -> Iterator[Display]:
    """The display that suits the environment. Bars and lines go to stderr."""
    try:
        if quiet:
            yield _Nothing()
            return
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_jupyter:
            yield NotebookCell()
        elif console.is_terminal:
            with bars(console) as progress:
                yield Bars(progress)
        else:
            yield Lines(console)
    except KeyboardInterrupt:
        if not quiet:
            print(
                f"Stopped watching; {fleet} keeps running. To cancel it, call the executor's cancel() "
                f"or run `powerlift-fleet cancel {fleet}`.",
                file=sys.stderr,
            )
        raise


def _bars_of(status: FleetStatus) -> dict[str, Bar]:
    """VMs that have started, of those wanted; trials that have ended, of all."""
    vms, trials = status.machines, status.trials
    counts = _counts(status.vms_by_state)
    bars = {"VMs": Bar(vms.running + vms.deleted, vms.wanted, counts), "trials": Bar(0, 0, "")}
    if trials is not None:
        bars["trials"] = Bar(trials.ended, trials.total, _counts(trials.by_state))
    return bars


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number)


def _failures(status: FleetStatus) -> str:
    return ", ".join(f"{one.count} x {one.code}" for one in status.failures)


def _trial_errors(status: FleetStatus) -> str:
    """Empty until the fleet has ended, and if no trial failed."""
    if status.trials is None or not status.trials.error or not status.is_terminal:
        return ""
    return (
        f"{status.trials.error} of {status.trials.total} trials failed: run.status(), or "
        "trial_status(store, NAME) of powerlift_fleet, has the errmsg of each."
    )


def line(status: FleetStatus) -> str:
    """The status in one line of plain text."""
    parts = [f"{status.label} {status.phase}"]
    for name, bar in _bars_of(status).items():
        if bar.total:
            detail = f" ({bar.detail})" if bar.detail else ""
            parts.append(f"{name} {bar.done}/{bar.total}{detail}")
    if status.failures:
        parts.append(f"failures: {_failures(status)}")
    return "; ".join(parts)


class _News:
    """Warnings and failures that were not shown before."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def of(self, status: FleetStatus) -> Iterator[str]:
        for warning in status.warnings:
            yield from self._once(warning, f"Warning: {warning}")
        for one in status.failures:
            said = f"{one.code}: {sentence(one.message)} Action taken: {one.action}. {one.advice}"
            yield from self._once(one.code, said.strip())
        if _trial_errors(status):
            yield from self._once("trials", _trial_errors(status))

    def _once(self, key: str, sentence: str) -> Iterator[str]:
        if key not in self._shown:
            self._shown.add(key)
            yield sentence


class _Nothing:
    def show(self, status: FleetStatus) -> None:
        return


class Lines:
    """A line for each phase, and at most one a minute within a phase."""

    def __init__(self, console: Console) -> None:
        self._console, self._news = console, _News()
        self._phase, self._last, self._next = "", "", 0.0

    def show(self, status: FleetStatus) -> None:
        for news in self._news.of(status):
            _print(self._console, news)
        now, text = time.monotonic(), line(status)
        if status.phase != self._phase or (now >= self._next and text != self._last):
            self._phase, self._last, self._next = status.phase, text, now + LINE_SECONDS
            _print(self._console, text)


class Bars:
    """A bar for the VMs and one for the trials."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._news = progress, _News()
        self._rows = {
            name: progress.add_task(name, total=None, detail="") for name in ("VMs", "trials")
        }
        self._phase = ""

    def show(self, status: FleetStatus) -> None:
        if status.phase != self._phase:
            self._phase = status.phase
            _print(self._progress.console, f"{status.label}: {self._phase}")
        for news in self._news.of(status):
            _print(self._progress.console, news)
        for name, bar in _bars_of(status).items():
            self._progress.update(
                self._rows[name], completed=bar.done, total=bar.total or None, detail=bar.text
            )


class NotebookCell:
    """One output that is replaced: it needs no widgets, and the notebook keeps the last one."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, status: FleetStatus) -> None:
        from IPython.display import display as show

        bundle = {"text/plain": line(status), "text/html": table(status)}
        if self._handle is None:
            self._handle = show(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def table(status: FleetStatus) -> str:
    """The status as an HTML table."""
    phase = html.escape(status.phase)
    rows = [f"<tr><td><b>{html.escape(status.label)}</b></td><td colspan=2>{phase}</td></tr>"]
    for name, bar in _bars_of(status).items():
        value = f' value="{bar.done}" max="{bar.total}"' if bar.total else ""
        rows.append(
            f"<tr><td>{name}</td><td><progress{value}></progress></td><td>{bar.text}</td></tr>"
        )
    for name, text in (("failures", _failures(status)), ("errors", _trial_errors(status))):
        if text:
            rows.append(f"<tr><td>{name}</td><td colspan=2>{html.escape(text)}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console)


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
