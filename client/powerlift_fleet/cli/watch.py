"""Watches a fleet until it has ended, on a screen or line by line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from powerlift_fleet.api.errors import (
    ApiError,
    AppUnavailable,
    FleetError,
    FleetUnreachable,
    NotFound,
    sentence,
)
from powerlift_fleet.api.flows import unreachable
from powerlift_fleet.api.responses import FleetStatus
from powerlift_fleet.cli import describe
from powerlift_fleet.cli.formatting import clean, now, span
from powerlift_fleet.cli.session import Session, console, say, say_which, show
from powerlift_fleet.cli.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from powerlift_fleet.api.client import FleetClient

POLL_SECONDS = 5.0
"""The app itself polls Azure every 5 to 30 s."""
INTERVAL = click.option(
    "--interval", type=click.FloatRange(min=0.2), default=POLL_SECONDS, show_default=True,
    metavar="SECONDS", help="Between two polls, with --wait or --watch.",
)  # fmt: skip
RESTART_TIMEOUT = 600.0
"""Seconds to wait for an app that has responded before: a deployment takes minutes."""
ATTEMPT_TIMEOUT = 10.0
"""Seconds; short, so that an outage is shown soon."""


def follow(
    session: Session, fleet: str, interval: float = POLL_SECONDS, cancelled: bool = False
) -> FleetStatus:
    """Show a fleet until it has ended; return its last status.

    `cancelled`: the user has just cancelled it. Raises FleetError as `status` does, and when the app
    stays unreachable.
    """
    with session.client() as client:
        snapshot = take_snapshot(client, fleet)
    if not _has_screen(session):
        say_which(fleet, snapshot.status)
    fleet = snapshot.status.id  # what latest or a name means may change
    display = _screen(snapshot) if _has_screen(session) else nullcontext(_Lines(session).show)
    try:
        with session.client(retry_timeout=0, timeout=ATTEMPT_TIMEOUT) as client, display as update:
            update(snapshot)
            while snapshot.unreachable_since is not None or not snapshot.status.is_terminal:
                time.sleep(interval if snapshot.unreachable_since is None else min(interval, 1.0))
                snapshot = _next(client, fleet, snapshot, session.retry_timeout)
                update(snapshot)
    except (KeyboardInterrupt, FleetError) as error:
        _print_last(session, snapshot)
        if isinstance(error, KeyboardInterrupt):
            _say_stopped(describe.handle(snapshot.status), cancelled)
        raise
    _print_last(session, snapshot)
    return snapshot.status


def _next(client: FleetClient, fleet: str, last: Snapshot, retry_timeout: float) -> Snapshot:
    """The next snapshot, or the last one while the app does not respond.

    Raises the error of an outage that lasts too long. A host that is still loading the app answers 404.
    """
    try:
        return take_snapshot(client, fleet)
    except (FleetUnreachable, AppUnavailable, NotFound) as error:
        since = time.monotonic() if last.unreachable_since is None else last.unreachable_since
        silence = time.monotonic() - since
        if silence < max(RESTART_TIMEOUT, retry_timeout):
            return replace(last, unreachable_since=since, error=_why(error))
        if isinstance(error, FleetUnreachable):
            raise unreachable(client.url, error.reason, span(silence)) from None
        raise


def _why(error: FleetUnreachable | ApiError) -> str:
    """Without what the client did: the watch continues."""
    if isinstance(error, FleetUnreachable):
        return error.reason
    return f"{error.title} ({error.status})"


def _say_stopped(fleet: str, cancelled: bool) -> None:
    continues = f"the teardown of {fleet} continues" if cancelled else f"{fleet} keeps running"
    say(f"Stopped watching; {continues}.")
    say(f"  powerlift-fleet status {fleet} --watch   watches again")
    if not cancelled:
        say(f"  powerlift-fleet cancel {fleet}           cancels the fleet")


def _has_screen(session: Session) -> bool:
    """rich is not asked: FORCE_COLOR, which many CI services set, makes it see a terminal."""
    dumb = os.environ.get("TERM", "") in ("", "dumb", "unknown") and os.name == "posix"
    return sys.stdout.isatty() and not dumb and not session.as_json


@contextmanager
def _screen(first: Snapshot) -> Iterator[Callable[[Snapshot], None]]:
    """The alternate screen, redrawn every second."""
    from rich.live import Live

    from powerlift_fleet.cli.fleet_screen import live_screen

    latest = [first]
    out = console()
    live = Live(
        get_renderable=lambda: live_screen(latest[0], out),
        console=out,
        screen=True,
        refresh_per_second=1,
        redirect_stdout=False,
        redirect_stderr=False,
    )

    def update(snapshot: Snapshot) -> None:
        latest[0] = snapshot
        live.refresh()

    with live:
        yield update


class _Lines:
    """A line for each change: JSON for scripts, else text with a timestamp."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: Any = None
        self._unreachable = False
        self._no_news = False
        self._shown_codes: set[str] = set()

    def show(self, snapshot: Snapshot) -> None:
        unreachable = snapshot.unreachable_since is not None
        if unreachable and not self._unreachable:
            say(_stamped(f"The app does not respond; retrying: {clean(snapshot.error)}"))
        elif self._unreachable and not unreachable:
            say(_stamped("The app responds again."))
        self._unreachable = unreachable
        if unreachable:
            return
        if self._session.as_json:
            if self._is_new(_relevant(snapshot.status)):
                click.echo(json.dumps(snapshot.status.raw))
        else:
            self._show_text(snapshot)

    def _show_text(self, snapshot: Snapshot) -> None:
        line = describe.line(snapshot.status, snapshot.progress)
        no_news = describe.no_news(snapshot.status)
        if self._is_new(line):
            _print(line)
        if no_news and not self._no_news:
            _print(no_news)
        self._no_news = bool(no_news)
        # The reason is printed at the end.
        reason = snapshot.status.reason.code if snapshot.status.reason else None
        for code, _, sentences in describe.failures(snapshot.status):
            if code not in self._shown_codes and code != reason:
                self._shown_codes.add(code)
                _print(f"{code}: {' '.join(map(sentence, sentences))}")

    def _is_new(self, shown: object) -> bool:
        last, self._last = self._last, shown
        return bool(shown != last)


def _relevant(status: FleetStatus) -> dict[str, Any]:
    """The JSON without what changes on every poll."""
    kept = {
        name: value for name, value in status.raw.items() if name not in ("updated_at", "links")
    }
    return {**kept, "stale_seconds": status.stale_seconds is not None}


def _stamped(text: str) -> str:
    return f"{now():%Y-%m-%dT%H:%M:%SZ}  {text}"


def _print(text: str) -> None:
    click.echo(_stamped(text))


def _print_last(session: Session, snapshot: Snapshot) -> None:
    """What stays on the terminal: the last snapshot."""
    if session.as_json:
        return
    if sys.stdout.isatty():
        from powerlift_fleet.cli.fleet_screen import fleet_screen

        show(lambda out: fleet_screen(snapshot, out))
    else:
        for text in (*describe.reason(snapshot.status), *describe.missing(snapshot.status)):
            _print(text)
