"""Following a fleet to its end, through silences of the app, on a screen or line by line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from powerlift_fleet.api.errors import (
    ApiError,
    AppUnavailable,
    FleetError,
    FleetUnreachable,
    NotFound,
)
from powerlift_fleet.api.wire import TERMINAL
from powerlift_fleet.cli import describe
from powerlift_fleet.cli.formatting import clean, now, span
from powerlift_fleet.cli.session import Session, console, say, show

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient

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


def look(client: FleetClient, fleet: str) -> View:
    """Look at a fleet. Raises what the client's `status` does.

    Progress that cannot be had is none: an older app has no such route.
    """
    status = client.status(fleet)
    try:
        return View(status, client.progress(fleet))
    except (ApiError, FleetUnreachable):
        return View(status)


def follow(
    session: Session, fleet: str, interval: float = INTERVAL, cancelled: bool = False
) -> Document:
    """Show a fleet until it has ended; returns its last status.

    It goes on when we are interrupted; `cancelled` is one that goes to its end. Raises FleetError as
    `status` does, and where the app falls silent for good.
    """
    with session.client() as client:
        view = look(client, fleet)
    display = _screen() if _has_screen(session) else nullcontext(Lines(session).tell)
    try:
        with session.client(patience=0, timeout=ATTEMPT) as client, display as tell:
            tell(view)
            while view.silent_since is not None or view.status["phase"] not in TERMINAL:
                time.sleep(interval if view.silent_since is None else min(interval, 1.0))
                view = _next(client, fleet, view, max(RESTART, session.patience))
                tell(view)
    except (KeyboardInterrupt, FleetError) as error:
        _finish(session, view)
        if isinstance(error, KeyboardInterrupt):
            _say_goodbye(clean(view.status["id"], 40), cancelled)
        raise
    _finish(session, view)
    return view.status


def _next(client: FleetClient, fleet: str, last: View, patience: float) -> View:
    """The next view, also of a silence. Raises the error of one that has lasted for too long.

    A host that has not loaded the app yet answers 404: that of a fleet that we have seen is one.
    """
    try:
        return look(client, fleet)
    except (FleetUnreachable, AppUnavailable, NotFound) as error:
        since = time.monotonic() if last.silent_since is None else last.silent_since
        if time.monotonic() - since >= patience:
            raise
        return replace(last, silent_since=since, silence=str(error))


def _say_goodbye(fleet: str, cancelled: bool) -> None:
    say(
        f"We no longer look; the teardown of {fleet} goes on."
        if cancelled
        else f"We no longer look; {fleet} goes on."
    )
    say(f"  powerlift-fleet status {fleet} --watch   looks on")
    if not cancelled:
        say(f"  powerlift-fleet cancel {fleet}           ends it")


def _has_screen(session: Session) -> bool:
    """Not what rich takes for a terminal: FORCE_COLOR, which many build services set, makes it one."""
    dumb = os.environ.get("TERM", "") in ("", "dumb", "unknown") and os.name == "posix"
    return sys.stdout.isatty() and not dumb and not session.as_json


@contextmanager
def _screen() -> Iterator[Callable[[View], None]]:
    """The whole screen, drawn anew each second: whatever was there is back afterwards."""
    from rich.live import Live

    from powerlift_fleet.cli.screens import fleet_screen

    views = [View()]
    out = console()
    live = Live(
        get_renderable=lambda: fleet_screen(views[0], out, live=True),
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


class Lines:
    """A line for each change: of the API's JSON for scripts, else of text with the time before it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: Any = None
        self._silent = False
        self._no_news = False
        self._told: set[str] = set()

    def tell(self, view: View) -> None:
        silent = view.silent_since is not None
        if silent and not self._silent:
            _say(f"The app does not answer; we wait for it. {view.silence}")
        elif self._silent and not silent:
            _say("The app answers again.")
        self._silent = silent
        if not silent and self._session.as_json:
            if self._is_new(_what_changes(view.status)):
                click.echo(json.dumps(view.status))
        elif not silent:
            self._tell_in_words(view)

    def _tell_in_words(self, view: View) -> None:
        line, no_news = describe.line(view.status, view.progress), describe.no_news(view.status)
        if self._is_new(line):
            _print(line)
        if no_news and not self._no_news:
            _print(no_news)
        self._no_news = bool(no_news)
        why = (view.status.get("reason") or {}).get("code")  # told at the end, with its advice
        for title, lines in describe.failures(view.status):
            code = title.partition(",")[0]
            if code not in self._told and code != why:
                self._told.add(code)
                sentences = [f"{line.rstrip('.')}." for line in lines]
                _print(f"{code}: {' '.join(sentences)}")

    def _is_new(self, shown: object) -> bool:
        last, self._last = self._last, shown
        return bool(shown != last)


def _what_changes(status: Mapping[str, Any]) -> Document:
    """A status without what changes though nothing has happened."""
    kept = {name: value for name, value in status.items() if name not in ("updated_at", "links")}
    return {**kept, "no_news_seconds": status.get("no_news_seconds") is not None}


def _print(text: str) -> None:
    click.echo(f"{now():%Y-%m-%dT%H:%M:%SZ}  {text}")


def _say(text: str) -> None:
    say(f"{now():%Y-%m-%dT%H:%M:%SZ}  {clean(text)}")


def _finish(session: Session, view: View) -> None:
    """What stays on the terminal: the fleet as we saw it last."""
    if session.as_json or not view.status:
        return
    from powerlift_fleet.cli.screens import fleet_screen

    if sys.stdout.isatty():
        show(lambda out: fleet_screen(view, out))
    else:
        for text in (*describe.reason(view.status), *describe.missing(view.status)):
            _print(text)
