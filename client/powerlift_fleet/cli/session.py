"""What every command shares: its connection, its two outputs, and how it ends when something fails."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from powerlift_fleet.api.errors import ApiError, FleetError, RequestRefused
from powerlift_fleet.cli import exit_codes, settings
from powerlift_fleet.cli.formatting import clean
from powerlift_fleet.cli.request_options import SHORT

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from powerlift_fleet.api.client import FleetClient

F = TypeVar("F", bound=Callable[..., Any])

PATIENCE = 60.0
"""Seconds that a call is repeated for while the app does not answer."""
_UNBOUNDED = 2000
"""Columns of what is no terminal."""


@dataclass(frozen=True)
class Session:
    """One run of the command: what it was told of the app, and whether a script reads it."""

    url: str
    key: str
    patience: float
    as_json: bool

    def client(self, patience: float | None = None, timeout: float = 30.0) -> FleetClient:
        """The app. `patience` replaces the session's; `timeout` is the seconds of one attempt."""
        from powerlift_fleet.api.client import FleetClient  # httpx takes longer than all of --help

        patience = self.patience if patience is None else patience
        return FleetClient(self.url, self.key, timeout=timeout, patience=patience)

    def answer(self, document: Any, line: bool = False) -> None:
        """Write JSON to standard output; `line`: as one of several lines."""
        indent = 2 if sys.stdout.isatty() and not line else None
        click.echo(json.dumps(document, indent=indent))


def console() -> Console:
    """Standard output for people. Text is shown as it is: no markup, no emoji codes, no guesses.

    What is no terminal has no width, unless COLUMNS gives it one.
    """
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _UNBOUNDED
    return Console(width=width, markup=False, emoji=False, highlight=False)


def show(page: Callable[[Console], RenderableType]) -> None:
    """Print a page for people; where it is no terminal, without the blanks that pad its lines."""
    out = console()
    if sys.stdout.isatty():
        out.print(page(out))
        return
    with out.capture() as captured:
        out.print(page(out))
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def say(text: str) -> None:
    """A message for the user, beside the output."""
    click.echo(text, err=True)


def connected(command: F) -> Callable[..., Any]:
    """Give a command the options that tell of the app; its first argument is the Session."""

    @functools.wraps(command)
    def begin(
        url: str | None,
        key_file: str | None,
        profile: str | None,
        patience: float,
        as_json: bool,
        **rest: Any,
    ) -> Any:
        read = settings.read(settings.Asked(url, key_file, profile))
        for warning in read.warnings:
            say(f"Warning: {clean(warning)}")
        return command(Session(read.url, read.key, patience, as_json), **rest)

    decorated: Callable[..., Any] = begin
    for option in reversed(_CONNECTION):
        decorated = option(decorated)
    return decorated


_CONNECTION: tuple[Callable[[Any], Any], ...] = (
    click.option("--url", help="The app; default: FLEET_URL, else the configuration file."),
    click.option("--key-file", metavar="FILE", help="Holds the function key, or - for standard "
                 "input; default: FLEET_KEY, else the configuration file."),
    click.option("--profile", metavar="NAME", help="A table of the configuration file; default: "
                 "FLEET_PROFILE, else its top."),
    click.option("--patience", type=click.FloatRange(min=0), default=PATIENCE, show_default=True,
                 metavar="SECONDS", help="How long to try while the app does not answer."),
    click.option("--json", "as_json", is_flag=True, help="The API's own JSON, errors included."),
)  # fmt: skip


class Program(click.Group):
    """A group of commands that return an exit code of `exits`; their failures are words, or JSON."""

    def invoke(self, ctx: click.Context) -> Any:
        as_json = "--json" in ctx.args
        try:
            code = super().invoke(ctx)
        except FleetError as error:
            _report(error, as_json)
            ctx.exit(exit_codes.of_error(error))
        except click.UsageError as error:
            if not as_json:
                raise
            _write({"title": "The command is wrong", "detail": error.format_message()})
            ctx.exit(exit_codes.USAGE)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(exit_codes.INTERRUPTED)
        except BrokenPipeError:
            # Python would meet it once more when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(exit_codes.PIPE_CLOSED)
        ctx.exit(code or exit_codes.OK)


def _report(error: FleetError, as_json: bool) -> None:
    if as_json:
        _write(_problem(error))
    else:
        text = str(error)
        if isinstance(error, RequestRefused):
            for field, option in SHORT.items():
                text = text.replace(f"  /{field}: ", f"  /{field} ({option}): ")
        say("Error: " + "\n".join(clean(line) if line == line.lstrip() else f"  {clean(line)}"
                                  for line in text.splitlines()))  # fmt: skip


def _problem(error: FleetError) -> Mapping[str, Any]:
    """Problem details, as the API has them (RFC 9457), also for what never reached it."""
    if not isinstance(error, ApiError):
        return {"type": "about:blank", "title": type(error).__name__, "detail": str(error)}
    problem: dict[str, Any] = {"type": "about:blank", "title": error.title, "status": error.status}
    problem["detail"] = error.detail or error.advice
    return problem | ({"errors": error.faults} if error.faults else {})


def _write(problem: Mapping[str, Any]) -> None:
    click.echo(json.dumps(problem))
