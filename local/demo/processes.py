"""Detects and kills leftover processes."""

from __future__ import annotations

import ctypes
import sys

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_TIMEOUT = 5.0  # seconds


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, including daemons (Linux only).

    On other systems `kill_leftover_processes` does not find orphans.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_leftover_processes() -> list[str]:
    """Kill our descendants that do not end by themselves soon. Returns their descriptions."""
    living = psutil.Process().children(recursive=True)
    _, living = psutil.wait_procs(living, timeout=_TIMEOUT)
    found = [_describe(process) for process in living]
    for process in living:
        process.kill()
    psutil.wait_procs(living, timeout=_TIMEOUT)
    return found


def _describe(process: psutil.Process) -> str:
    try:
        # Without the arguments, which may contain a secret.
        return f"{process.name()} (pid {process.pid})"
    except psutil.NoSuchProcess:
        return f"pid {process.pid}"
