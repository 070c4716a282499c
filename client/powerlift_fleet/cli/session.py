"""Connection, output and errors of every command."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from powerlift_fleet.api.errors import ApiError, FleetCannotStart, FleetError, RequestRefused
from powerlift_fleet.api.responses import FleetStatus
from powerlift_fleet.api.settings import sources
from powerlift_fleet.cli import exit_codes
from powerlift_fleet.cli.describe import label
from powerlift_fleet.cli.formatting import clean
from powerlift_fleet.cli.options.request_options import SHORT

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from powerlift_fleet.api.client import FleetClient

F = TypeVar("F", bound=Callable[..., Any])

RETRY_TIMEOUT = 60.0
_PIPE_COLUMNS = 2000


@dataclass(frozen=True)
class Session:
    """One run of the command."""

    options: sources.Options
    retry_timeout: float
    as_json: bool

    @functools.cached_property
    def app(self) -> sources.Settings:
        """The app's URL and key. Prints warnings. Raises ConfigurationError."""
        app = sources.read(self.options)
        warn(app.warnings)
        return app

    def client(self, retry_timeout: float | None = None, timeout: float = 30.0) -> FleetClient:
        """`retry_timeout` replaces the session's; `timeout`: seconds for one attempt."""
        with _interrupts_deferred():  # httpx takes longer than all of --help
            from powerlift_fleet.api.client import FleetClient

        if retry_timeout is None:
            retry_timeout = self.retry_timeout
        app = self.app
        return FleetClient(app.url, app.key, timeout=timeout, retry_timeout=retry_timeout)

    def print_json(self, document: Any, line: bool = False) -> None:
        """`line`: on a single line."""
        indent = 2 if sys.stdout.isatty() and not line else None
        click.echo(json.dumps(document, indent=indent))

    def print_result(self, document: Any, screen: Callable[[Console], RenderableType]) -> None:
        """Print the JSON document with --json, else the screen."""
        if self.as_json:
            self.print_json(document)
        else:
            show(screen)


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """An import may swallow Ctrl-C, or make another exception of it."""
    received: list[int] = []
    default = signal.default_int_handler
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not default:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, default)
    if received:
        raise KeyboardInterrupt


def screens() -> Any:
    """The module of the screens. It imports rich, which --help and --json do without."""
    from powerlift_fleet.cli import screens

    return screens


def console() -> Console:
    """Standard output, without markup. A pipe has no width, unless COLUMNS is set."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_COLUMNS
    return Console(width=width, markup=False, emoji=False, highlight=False)


def show(screen: Callable[[Console], RenderableType], err: bool = False) -> None:
    """Print a screen; to a pipe, and to stderr with `err`, without trailing blanks."""
    out = console()
    if sys.stdout.isatty() and not err:
        out.print(screen(out))
        return
    with out.capture() as captured:
        out.print(screen(out))
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), err=err)


def say(text: str) -> None:
    """Print a message to stderr."""
    click.echo(text, err=True)


def warn(texts: Iterable[str]) -> None:
    for text in texts:
        say(f"Warning: {clean(text)}")


def say_which(typed: str, fleet: FleetStatus) -> None:
    """Name the fleet on stderr, unless the user did so."""
    if typed.strip() not in (fleet.id, fleet.handle, str(fleet.number)):
        say(label(fleet))


def connected(command: F) -> Callable[..., Any]:
    """Add the connection options to a command; its first argument is the Session."""

    @functools.wraps(command)
    def begin(
        url: str | None,
        key_file: str | None,
        profile: str | None,
        retry_timeout: float,
        as_json: bool,
        **rest: Any,
    ) -> Any:
        options = sources.Options(url, key_file, profile)
        return command(Session(options, retry_timeout, as_json), **rest)

    decorated: Callable[..., Any] = begin
    for option in reversed(_CONNECTION):
        decorated = option(decorated)
    return decorated


_CONNECTION: tuple[Callable[[Any], Any], ...] = (
    click.option("--url", help="The app's URL; default: FLEET_URL, or the configuration file."),
    click.option("--key-file", metavar="FILE", help="File with the function key, or - for "
                 "stdin; default: FLEET_KEY, or the configuration file."),
    click.option("--profile", metavar="NAME", help="Profile of the configuration file; "
                 "default: FLEET_PROFILE, or its top level."),
    click.option("--retry-timeout", type=click.FloatRange(min=0), default=RETRY_TIMEOUT,
                 show_default=True, metavar="SECONDS",
                 help="How long to retry while the app does not respond."),
    click.option("--json", "as_json", is_flag=True, help="Print the API's JSON, also for errors."),
)  # fmt: skip


_BEFORE = {"--url": 1, "--key-file": 1, "--profile": 1, "--retry-timeout": 1, "--json": 0}
"""The connection options, with their number of values."""


class Program(click.Group):
    """Commands return an exit code; errors are printed as text or JSON."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Connection options may stand before the command, as in other programs."""
        before: list[str] = []
        while args and args[0].partition("=")[0] in _BEFORE:
            takes_value = _BEFORE[args[0].partition("=")[0]] and "=" not in args[0]
            taken, args = args[: 1 + takes_value], args[1 + takes_value :]
            before += taken
        return super().parse_args(ctx, [*args[:1], *before, *args[1:]])

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
            _write({"title": "Invalid command", "detail": error.format_message()})
            ctx.exit(exit_codes.USAGE)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(exit_codes.INTERRUPTED)
        except BrokenPipeError:
            # Python would raise it again when it flushes stdout at exit.
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
    """Problem details (RFC 9457), as the API returns them, also for errors of the client."""
    problem: dict[str, Any] = {"type": "about:blank"}
    if isinstance(error, ApiError):
        problem |= {"title": error.title, "status": error.status}
        problem["detail"] = error.detail or error.advice
        return problem | ({"errors": error.faults} if error.faults else {})
    problem |= {"title": type(error).__name__, "detail": str(error)}
    if isinstance(error, FleetCannotStart):
        problem["checks"] = [one.raw for one in error.faults]
    return problem


def _write(problem: Mapping[str, Any]) -> None:
    click.echo(json.dumps(problem))
