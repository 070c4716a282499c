"""Shows a fleet's progress: bars on a terminal, one output in a notebook, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from powerlift_fleet.api.errors import sentence
from powerlift_fleet.api.responses import FleetStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Display(Protocol):
    def show(self, status: FleetStatus) -> None: ...


@contextmanager
def display(handle: Callable[[], str], quiet: bool = False) -> Iterator[Display]:
    """The display that suits the environment. Bars and lines go to stderr.

    `handle`: the fleet's short ID, or its ID until its first status.
    """
    try:
        if quiet:
            yield _Nothing()
            return
        if _in_notebook():
            yield NotebookCell()
        elif (console := _terminal()) is not None:
            with bars(console) as progress:
                yield Bars(progress)
        else:
            yield Lines()
    except KeyboardInterrupt:
        if not quiet:
            fleet = handle()
            print(
                f"Stopped watching; {fleet} keeps running. To cancel it, call the executor's cancel() "
                f"or run `powerlift-fleet cancel {fleet}`.",
                file=sys.stderr,
            )
        raise


def line(status: FleetStatus) -> str:
    """The status in one line of plain text."""
    parts = [f"{status.label} {status.phase}"]
    for name, bar in status.bars.items():
        if bar.total:
            detail = f" ({bar.detail})" if bar.detail else ""
            parts.append(f"{name} {bar.done}/{bar.total}{detail}")
    if status.failures:
        parts.append(f"failures: {status.failures_by_code}")
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
        if status.where_errors_are:
            yield from self._once("trials", status.where_errors_are)

    def _once(self, key: str, sentence: str) -> Iterator[str]:
        if key not in self._shown:
            self._shown.add(key)
            yield sentence


class _Nothing:
    def show(self, status: FleetStatus) -> None:
        return


class Lines:
    """A line for each phase, and at most one per `interval` (in seconds) within a phase, on stderr or
    `stream`.
    """

    def __init__(self, interval: float = 60.0, stream: TextIO | None = None) -> None:
        self._news, self._interval, self._stream = _News(), interval, stream
        self._phase, self._last, self._next = "", "", 0.0

    def show(self, status: FleetStatus) -> None:
        for news in self._news.of(status):
            self._print(news)
        now, text = time.monotonic(), line(status)
        if status.phase != self._phase or (now >= self._next and text != self._last):
            self._phase, self._last, self._next = status.phase, text, now + self._interval
            self._print(text)

    def _print(self, text: str) -> None:
        print(text, file=self._stream or sys.stderr, flush=True)


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
        for name, bar in status.bars.items():
            self._progress.update(
                self._rows[name], completed=bar.done, total=bar.total or None, detail=bar.text
            )


class NotebookCell:
    """One output that is replaced: it needs no widgets, and the notebook keeps the last one."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, status: FleetStatus) -> None:
        from IPython.display import display as show

        bundle = {"text/plain": line(status), "text/html": status._repr_html_()}
        if self._handle is None:
            self._handle = show(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def _in_notebook() -> bool:
    """Whether a kernel runs this: only a process that has imported IPython can be one."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


def _terminal() -> Console | None:
    """Standard error, if it is a terminal that can show bars."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal else None


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
