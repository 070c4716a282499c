"""A fleet's progress for whoever waits: bars on a terminal, one cell in a notebook, else a few lines."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from powerlift_fleet.api.wire import TERMINAL

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Status = Mapping[str, Any]

EVERY = 60.0
"""Seconds between two lines of one phase, where there is no terminal."""


class Bar(NamedTuple):
    """`done` of `total`, and what stands beside it. A total of 0: not known yet."""

    done: int
    total: int
    detail: str


class Display(Protocol):
    """Shows a fleet's status each time that it is told."""

    def show(self, status: Status) -> None: ...


@contextmanager
def display(fleet: str, quiet: bool = False) -> Iterator[Display]:
    """What suits the place that we run in. Bars and lines go to stderr.

    To an interruption it answers that the fleet goes on, and how to end it.
    """
    with _suited(fleet, quiet) as shown:
        try:
            yield shown
        except KeyboardInterrupt:
            if not quiet:
                print(
                    f"We no longer look; {fleet} goes on. Its executor's cancel(), or "
                    f"`powerlift-fleet cancel {fleet}`, ends it.",
                    file=sys.stderr,
                )
            raise


def _suited(fleet: str, quiet: bool) -> AbstractContextManager[Display]:
    if quiet:
        return _nothing()
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        return _cell(fleet)
    return _bars(fleet, console) if console.is_terminal else _lines(fleet, console)


def machines(status: Status) -> Bar:
    """The VMs: those that came up (running, or gone again) of those wanted."""
    count = status["machines"]
    told = ("running", "failed", "deleted")
    detail = ", ".join(f"{count[it]} {it}" for it in told if count[it])
    return Bar(count["running"] + count["deleted"], count["wanted"], detail)


def trials(status: Status) -> Bar:
    """The trials: those that ended of all. Nothing of nothing until the app has looked."""
    count = status["trials"]
    if count is None:
        return Bar(0, 0, "")
    told = (("running", "running"), ("error", "with an error"))
    detail = ", ".join(f"{count[it]} {word}" for it, word in told if count[it])
    return Bar(count["complete"] + count["error"], count["total"], detail)


def failures(status: Status) -> str:
    """The codes of what went wrong, with how often; empty when nothing did."""
    return ", ".join(f"{one['count']} x {one['code']}" for one in status["failures"])


def errors(status: Status) -> str:
    """That trials have ended with an error, and where it can be read; empty when none did."""
    count = status["trials"]
    if not count or not count["error"]:
        return ""
    return (
        f"{count['error']} of {count['total']} trials ended with an error: "
        "the errmsg of each is in Powerlift's benchmark.status()."
    )


def line(fleet: str, status: Status) -> str:
    """The whole status in one line of plain text."""
    parts = [f"{fleet} {status['phase']}"]
    for name, bar in (("VMs", machines(status)), ("trials", trials(status))):
        if bar.total:
            detail = f" ({bar.detail})" if bar.detail else ""
            parts.append(f"{name} {bar.done}/{bar.total}{detail}")
    if failures(status):
        parts.append(f"failures: {failures(status)}")
    return "; ".join(parts)


class News:
    """What a fleet's status says that it did not say before: warnings and kinds of failure."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def of(self, status: Status) -> Iterator[str]:
        """Sentences, each once."""
        for warning in status["warnings"]:
            yield from self._once(warning, f"Warning: {warning}")
        for one in status["failures"]:
            sentence = f"{one['code']}: {one['message']} The fleet {one['action']}. {one['advice']}"
            yield from self._once(one["code"], sentence.strip())
        if status["phase"] in TERMINAL and errors(status):
            yield from self._once("errors", errors(status))

    def _once(self, what: str, sentence: str) -> Iterator[str]:
        if what not in self._told:
            self._told.add(what)
            yield sentence


class _Nothing:
    def show(self, status: Status) -> None:
        return


class _Lines:
    def __init__(self, fleet: str, console: Console) -> None:
        self._fleet, self._console, self._news = fleet, console, News()
        self._phase, self._told, self._next = "", "", 0.0

    def show(self, status: Status) -> None:
        for sentence in self._news.of(status):
            self._print(sentence)
        now, text = time.monotonic(), line(self._fleet, status)
        if status["phase"] != self._phase or (now >= self._next and text != self._told):
            self._phase, self._told, self._next = status["phase"], text, now + EVERY
            self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


class _Bars:
    def __init__(self, fleet: str, progress: Progress) -> None:
        self._fleet, self._progress, self._news = fleet, progress, News()
        self._rows = {
            name: progress.add_task(name, total=None, detail="") for name in ("VMs", "trials")
        }
        self._phase = ""

    def show(self, status: Status) -> None:
        if status["phase"] != self._phase:
            self._phase = status["phase"]
            self._print(f"{self._fleet}: {self._phase}")
        for sentence in self._news.of(status):
            self._print(sentence)
        for name, bar in (("VMs", machines(status)), ("trials", trials(status))):
            share = f"{bar.done}/{bar.total}" if bar.total else ""
            self._progress.update(
                self._rows[name],
                completed=bar.done,
                total=bar.total or None,
                detail=", ".join(filter(None, [share, bar.detail])),
            )

    def _print(self, text: str) -> None:
        self._progress.console.print(text, soft_wrap=True, highlight=False, markup=False)


class _Cell:
    """One output that is replaced; needs no widgets, and stays in the notebook as it was last."""

    def __init__(self, fleet: str) -> None:
        self._fleet = fleet
        self._handle: Any = None

    def show(self, status: Status) -> None:
        from IPython.display import display as show

        bundle = {"text/plain": line(self._fleet, status), "text/html": page(self._fleet, status)}
        if self._handle is None:
            self._handle = show(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


def page(fleet: str, status: Status) -> str:
    """The status as HTML: a row for the VMs, and one for the trials."""
    rows = [f"<tr><td><b>{html.escape(fleet)}</b></td><td colspan=2>{status['phase']}</td></tr>"]
    for name, bar in (("VMs", machines(status)), ("trials", trials(status))):
        value = f' value="{bar.done}" max="{bar.total}"' if bar.total else ""
        share = f"{bar.done}/{bar.total}" if bar.total else ""
        detail = ", ".join(filter(None, [share, bar.detail]))
        rows.append(
            f"<tr><td>{name}</td><td><progress{value}></progress></td><td>{detail}</td></tr>"
        )
    if failures(status):
        rows.append(f"<tr><td>failures</td><td colspan=2>{html.escape(failures(status))}</td></tr>")
    if status["phase"] in TERMINAL and errors(status):
        rows.append(f"<tr><td>errors</td><td colspan=2>{errors(status)}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


@contextmanager
def _nothing() -> Iterator[Display]:
    yield _Nothing()


@contextmanager
def _lines(fleet: str, console: Console) -> Iterator[Display]:
    yield _Lines(fleet, console)


@contextmanager
def _cell(fleet: str) -> Iterator[Display]:
    yield _Cell(fleet)


@contextmanager
def _bars(fleet: str, console: Console) -> Iterator[Display]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Bars(fleet, progress)
