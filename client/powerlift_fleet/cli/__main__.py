"""The entry point of `powerlift-fleet` and `python -m powerlift_fleet.cli`."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> None:
    """Ctrl-C exits without a traceback, also during the imports."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # a shell ignores the signal in background jobs
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from powerlift_fleet.cli.main import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
