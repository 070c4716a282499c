"""A fleet's progress: live bars on a terminal, otherwise one line per change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

Status = Mapping[str, Any]


class Bar(NamedTuple):
    """One bar: `done` of `total`, and a text."""

    done: int
    total: int
    detail: str


def vm_bar(status: Status) -> Bar:
    """The VMs that have started (running or deleted), of those wanted."""
    count = status["machines"]
    up = count["running"] + count["deleted"]
    shown = ["accepted", "running", "failed", "deleted"]
    return Bar(up, count["wanted"], ", ".join(f"{count[it]} {it}" for it in shown if count[it]))


def trial_bar(status: Status) -> Bar:
    """The trials that have ended, of all. 0 of 0 until the app has counted them."""
    count = status["trials"]
    if count is None:
        return Bar(0, 0, "")
    shown = ["ready", "running", "error"]
    done = count["complete"] + count["error"]
    return Bar(done, count["total"], ", ".join(f"{count[it]} {it}" for it in shown if count[it]))


def line(status: Status) -> str:
    parts = [f"{status['phase']:<12}"]
    for name, bar in (("VMs", vm_bar(status)), ("trials", trial_bar(status))):
        detail = f" ({bar.detail})" if bar.detail else ""
        parts.append(f"{name} {bar.done}/{bar.total or '?'}{detail}")
    return "  ".join(parts)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._begin, self._last = console, time.monotonic(), ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, status: Status) -> None:
        now = line(status)
        if now != self._last:
            elapsed = time.monotonic() - self._begin
            self._console.print(f"{elapsed:6.1f} s  {now}", soft_wrap=True, highlight=False)
            self._last = now


class _Bars:
    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._rows: dict[str, TaskID] = {
            name: self._progress.add_task(name, total=None, detail="") for name in ("VMs", "trials")
        }
        self._phase = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, status: Status) -> None:
        if status["phase"] != self._phase:
            self._phase = status["phase"]
            self._progress.console.print(f"phase: {self._phase}")
        for name, bar in (("VMs", vm_bar(status)), ("trials", trial_bar(status))):
            share = f"{bar.done}/{bar.total}" if bar.total else ""
            self._progress.update(
                self._rows[name],
                completed=bar.done,
                total=bar.total or None,
                detail=", ".join(filter(None, [share, bar.detail])),
            )


Display = _Bars | _Lines
"""Displays a fleet's status."""


def display(console: Console) -> Display:
    """Bars if the console is a terminal, otherwise lines."""
    return _Bars(console) if console.is_terminal else _Lines(console)
