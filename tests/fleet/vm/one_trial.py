"""A script with the contract of Powerlift's own runner: it runs one trial, and exits with a code.

1: one trial done, run me again; 0: no more work; 65: I failed. A trial runs in a thread, and one that
takes too long is left to run until the process has ended. Unlike ours, a crash takes the script along.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from typing import Any


def main() -> int:
    from powerlift.bench.store import Store

    experiment, runner = int(os.environ["EXPERIMENT_ID"]), int(os.environ["RUNNER_ID"])
    timeout = float(os.environ["TIMEOUT"])
    store = Store(os.environ["DB_URL"], max_attempts=3, wait_secs=0.1)
    trial = store.pick_trial(experiment, runner)
    if trial is None:
        return 0
    scope: dict[str, Any] = {}
    exec(store.get_trial_fn(experiment), scope)
    store.end_trial(trial.id, timed(scope["trial"], trial, timeout))
    return 1


def timed(function: Any, trial: Any, timeout: float) -> str | None:
    """The error, or None."""
    errors: list[str | None] = []

    def run() -> None:
        try:
            function(trial)
            errors.append(None)
        except Exception:
            errors.append(traceback.format_exc())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(min(timeout, threading.TIMEOUT_MAX))
    return errors[0] if errors else f"Timeout failure: {timeout} s"


if __name__ == "__main__":
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        code = 65
    sys.stdout.flush()
    os._exit(code)
