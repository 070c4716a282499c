"""The entry point of `powerlift-fleet` and `python -m powerlift_fleet.cli`."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> None:
    """Ctrl-C exits without a traceback, also during the imports."""
    default = signal.default_int_handler
    is_default = signal.getsignal(signal.SIGINT) is default  # a shell ignores it in background jobs
    if is_default:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    from powerlift_fleet.cli.main import main as run

    if is_default:
        signal.signal(signal.SIGINT, default)
    run()


if __name__ == "__main__":
    main()
