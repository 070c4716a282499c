"""Proof that no process is left: on Linux every orphan of ours becomes our child again."""

from __future__ import annotations

import ctypes
import sys

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, daemons included (Linux only).

    Elsewhere `leftovers` sees only processes that still hang together with this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def leftovers(patience: float = 5.0) -> list[str]:
    """Descriptions of our descendants still alive after `patience` seconds; they are ended then."""
    living = psutil.Process().children(recursive=True)
    _, living = psutil.wait_procs(living, timeout=patience)
    found = [_describe(process) for process in living]
    for process in living:
        process.kill()
    psutil.wait_procs(living, timeout=patience)
    return found


def _describe(process: psutil.Process) -> str:
    try:
        # The name alone: arguments of a program that we do not know may hold a secret.
        return f"{process.name()} (pid {process.pid})"
    except psutil.NoSuchProcess:
        return f"pid {process.pid}"
