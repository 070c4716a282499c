"""Bytecode for simulated VMs: their packages are the files of our own environment, long compiled."""

from __future__ import annotations

import contextlib
import os
import sysconfig
from importlib.util import cache_from_source
from pathlib import Path


def lend_bytecode(uv_cache: Path) -> None:
    """Put our environment's bytecode into uv's cache, from where uv links it into the VMs' own.

    Without it each VM compiles pandas and scikit-learn anew, which takes ten seconds. A file is the same
    where uv has linked it from this cache into our environment: by its inode.
    """
    compiled = {}
    for source in Path(sysconfig.get_path("purelib")).rglob("*.py"):
        bytecode = Path(cache_from_source(source))
        if bytecode.exists():
            compiled[_identity(source)] = bytecode
    for source in (uv_cache / "archive-v0").rglob("*.py"):
        lent = Path(cache_from_source(source))
        lender = compiled.get(_identity(source))
        if lender and not lent.exists():
            with contextlib.suppress(OSError):  # another start was faster
                lent.parent.mkdir(exist_ok=True)
                os.link(lender, lent)


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino
