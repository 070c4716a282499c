"""Following a fleet to its end, through silences of the app, on a screen or line by line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from powerlift_fleet.cli import words
from powerlift_fleet.cli.session import Session, console, say, show
from powerlift_fleet.cli.text import clean, now, span
from powerlift_fleet.errors import (
    ApiError,
    AppUnavailable,
    FleetError,
    FleetUnreachable,
    NotFound,
)
from powerlift_fleet.wire import TERMINAL

if TYPE_CHECKING:
    from powerlift_fleet.client import FleetClient

INTERVAL = 5.0
"""Seconds between two looks: the app itself looks at a fleet every 5 to 30 s."""
RESTART = 600.0
"""Seconds that we wait for an app that has answered before: a deployment takes minutes."""

ATTEMPT = 10.0
"""Seconds of one look: a silence is to be told soon."""

Document = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What is known of a fleet, and since when (time.monotonic) the app has been silent, and why."""

    status: Document = field(default_factory=dict)
    progress: Document | None = None
    silent_since: float | None = None
    silence: str = ""

    @property
    def waiting(self) -> str:
        """That we wait for the app, in words; empty while it answers."""
        if self.silent_since is None:
            return ""
        silent = span(time.monotonic() - self.silent_since)
        return f"waiting for the app, which has not answered for {silent}"


class Looker:
    """Looks at one fleet. An app without `progress` is not asked for it twice."""

    def __init__(self, client: FleetClient, fleet: str) -> None:
        self._client, self._fleet = client, fleet
        self._has_progress = True

    def look(self) -> View:
        """Raises what the client's `status` does; progress that cannot be had is none."""
        status = self._client.status(self._fleet)
        progress = None
        if self._has_progress:
            try:
                progress = self._client.progress(self._fleet)
            except NotFound:
                self._has_progress = False
            except (ApiError, FleetUnreachable):
                pass
        return View(status, progress)


def follow(session: Session, fleet: str, interval: float = INTERVAL) -> Document:
    """Show a fleet until it has ended; returns its last status.

    The fleet goes on when we are interrupted. Raises FleetError where the app stays silent.
    """
    with session.client(patience=0, timeout=ATTEMPT) as client:
        shown = View()
        display = _screen if _has_screen(session) else _lines
        try:
            with display(session) as tell:
                for shown in _views(client, fleet, interval, session.patience):
                    tell(shown)
        except KeyboardInterrupt:
            _finish(session, shown)
            fleet = str(shown.status.get("id", fleet))
            say(
                f"We no longer look; {fleet} goes on.\n"
                f"  powerlift-fleet status {fleet} --watch   looks on\n"
                f"  powerlift-fleet cancel {fleet}           ends it"
            )
            raise
        _finish(session, shown)
        return shown.status


def _views(client: FleetClient, fleet: str, interval: float, patience: float) -> Iterator[View]:
    """Views until the fleet has ended, also of silences. Raises the error that a silence ends with."""
    looker, last = Looker(client, fleet), View()
    while True:
        try:
            last = looker.look()
        except (FleetUnreachable, AppUnavailable, NotFound) as error:
            last = _silent(last, error, patience)
        yield last
        if last.silent_since is None and last.status.get("phase") in TERMINAL:
            return
        time.sleep(interval if last.silent_since is None else min(interval, 1.0))


def _silent(last: View, error: FleetError, patience: float) -> View:
    """The view of a silence. Raises the error when it is none, or has lasted too long.

    A host that has not loaded the app yet answers 404: that of a fleet that we have seen is one.
    """
    known = bool(last.status)
    if isinstance(error, NotFound) and not known:
        raise error
    since = last.silent_since if last.silent_since is not None else time.monotonic()
    if time.monotonic() - since >= (max(RESTART, patience) if known else patience):
        raise error
    return replace(last, silent_since=since, silence=str(error))


def _has_screen(session: Session) -> bool:
    """Not what rich takes for a terminal: FORCE_COLOR, which many build services set, makes it one."""
    dumb = os.environ.get("TERM", "") in ("", "dumb", "unknown") and os.name == "posix"
    return sys.stdout.isatty() and not dumb and not session.as_json


@contextmanager
def _screen(session: Session) -> Iterator[Callable[[View], None]]:
    """The whole screen, drawn anew each second: whatever was there is back afterwards."""
    from rich.live import Live

    from powerlift_fleet.cli.pages import fleet_page

    views = [View()]
    out = console()
    live = Live(
        get_renderable=lambda: fleet_page(views[0], out, live=True),
        console=out,
        screen=True,
        refresh_per_second=1,
        redirect_stdout=False,
        redirect_stderr=False,
    )

    def tell(view: View) -> None:
        views[0] = view
        live.refresh()

    with live:
        yield tell


@contextmanager
def _lines(session: Session) -> Iterator[Callable[[View], None]]:
    """A line for each change: of the API's JSON for scripts, else of text with the time before it."""
    said: list[Any] = [None, False]
    told: set[str] = set()

    def tell(view: View) -> None:
        if view.waiting:
            if not said[1]:
                _tell(session, f"The app does not answer; we wait for it. {view.silence}")
            said[1] = True
            return
        if said[1]:
            _tell(session, "The app answers again.")
            said[1] = False
        if session.as_json:
            if (new := _what_changes(view.status)) != said[0]:
                said[0] = new
                click.echo(json.dumps(view.status))
            return
        if (line := words.line(view.status, view.progress)) != said[0]:
            said[0] = line
            _print(line)
        for title, lines in words.failures(view.status):
            code = title.partition(",")[0]
            if code not in told:
                told.add(code)
                _print(f"{code}: {' '.join(lines)}")

    yield tell


def _what_changes(status: Mapping[str, Any]) -> Document:
    """A status without what changes though nothing has happened."""
    return {name: value for name, value in status.items() if name not in ("updated_at", "links")}


def _print(text: str) -> None:
    click.echo(f"{now():%Y-%m-%dT%H:%M:%SZ}  {text}")


def _tell(session: Session, text: str) -> None:
    say(f"{now():%Y-%m-%dT%H:%M:%SZ}  {clean(text)}")


def _finish(session: Session, view: View) -> None:
    """What stays on the terminal: the fleet as we saw it last."""
    if session.as_json or not view.status:
        return
    from powerlift_fleet.cli.pages import fleet_page

    if sys.stdout.isatty():
        show(lambda out: fleet_page(view, out))
    else:
        for text in (*words.reason(view.status), *words.missing(view.status)):
            _print(text)
