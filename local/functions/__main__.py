"""`python -m local.functions`: hosts the Functions app in a directory."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import logging
import math
import os
import re
import signal
import sys
import threading
from pathlib import Path

from local.functions import logs
from local.functions.host import ROLES, FunctionsHost, file_name
from local.functions.indexing import IndexingError, index, load_app
from local.functions.settings import SettingsError, load_host_settings, load_values
from local.process import announce

_log = logging.getLogger("local.functions")
_SHUTDOWN_TIMEOUT = 4.5  # seconds


def main() -> int:
    """Run the host. Returns 0 after a signal, 1 if the app cannot be hosted."""
    arguments = _parser().parse_args()
    state_dir, host_root = arguments.state.resolve(), arguments.host_root.resolve()
    settings_file = host_root / arguments.settings
    logs.configure()
    try:
        load_values(settings_file)
        settings = load_host_settings(host_root / "host.json", os.environ)
        if (seconds := arguments.visibility_timeout) is not None:
            durable = dataclasses.replace(
                settings.durable, message_visibility=seconds, activity_visibility=seconds
            )
            queues = dataclasses.replace(settings.queues, message_visibility=seconds)
            settings = dataclasses.replace(settings, durable=durable, queues=queues)
        os.chdir(host_root)  # as the Functions worker does
        gc.disable()  # an app's modules stay: looking for garbage among them takes a fifth of a start
        functions = index(load_app(host_root), os.environ)
        gc.freeze()
        gc.enable()
        host = FunctionsHost(
            functions, settings, state_dir, host_root=host_root, port=arguments.port,
            name=arguments.name, roles=arguments.roles,
        )  # fmt: skip
        asyncio.run(_serve(host, state_dir / f"{file_name('ready', arguments.name)}.json"))
    except (SettingsError, IndexingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(host: FunctionsHost, ready: Path) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await host.start()
    try:
        announce(ready, {"pid": os.getpid(), "url": host.url, "keys": host.keys})
        _log.info("Listening on %s", host.url)
        await stopped.wait()
        _log.info("Stopping")
    finally:
        _exit_after(_SHUTDOWN_TIMEOUT)
        ready.unlink(missing_ok=True)
        await host.stop()


def _exit_after(seconds: float) -> None:
    """Exit after `seconds`, even if a function ignores its cancellation."""
    watchdog = threading.Timer(seconds, os._exit, [0])
    watchdog.daemon = True
    watchdog.start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.functions", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="directory for all state")
    parser.add_argument("--port", type=int, default=7071, help="0 picks a free port")
    parser.add_argument("--host-root", type=Path, default=Path(), help="directory of the app")
    parser.add_argument(
        "--settings", type=Path, default=Path("local.settings.json"),
        help="file with Values, relative to the app's directory",
    )  # fmt: skip
    parser.add_argument(
        "--roles", type=_roles, default=ROLES, metavar="ROLE,...",
        help="the parts of the app to run: http, durable, triggers (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--name", type=_name, default="",
        help="distinguishes hosts with the same state; the ready file is ready-NAME.json",
    )  # fmt: skip
    parser.add_argument(
        "--visibility-timeout", type=_seconds, metavar="SECONDS",
        help="visibility timeout of work in flight, overriding host.json",
    )  # fmt: skip
    return parser


def _roles(text: str) -> frozenset[str]:
    roles = frozenset(text.split(","))
    if not roles <= ROLES:
        raise argparse.ArgumentTypeError(f"must be some of {', '.join(sorted(ROLES))}")
    return roles


def _name(text: str) -> str:
    if not re.fullmatch(r"[\w-]*", text):
        raise argparse.ArgumentTypeError("may contain only letters, digits, _ and -")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("must be greater than zero")
    return seconds


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    if any(not t.daemon for t in threading.enumerate() if t is not threading.main_thread()):
        # A synchronous function cannot be cancelled, and Python would wait for its thread.
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
