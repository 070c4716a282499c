"""Detects and kills leftover processes."""

from __future__ import annotations

import ctypes
import sys

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, including daemons (Linux only).

    On other systems `kill_leftover_processes` does not find orphans.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_leftover_processes(timeout: float = 5.0) -> list[str]:
    """Kill our descendants that are alive after `timeout` seconds. Returns their descriptions."""
    living = psutil.Process().children(recursive=True)
    _, living = psutil.wait_procs(living, timeout=timeout)
    found = [_describe(process) for process in living]
    for process in living:
        process.kill()
    psutil.wait_procs(living, timeout=timeout)
    return found


def _describe(process: psutil.Process) -> str:
    try:
        # Without the arguments, which may contain a secret.
        return f"{process.name()} (pid {process.pid})"
    except psutil.NoSuchProcess:
        return f"pid {process.pid}"
