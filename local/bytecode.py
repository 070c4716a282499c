"""Shares the bytecode of our environment with the simulated VMs, which use the same packages."""

from __future__ import annotations

import contextlib
import os
import sysconfig
from importlib.util import cache_from_source
from pathlib import Path


def share_bytecode(uv_cache: Path) -> None:
    """Link our environment's bytecode into uv's cache, from which uv installs packages on the VMs.

    Otherwise each VM compiles pandas and scikit-learn, which takes ten seconds. A cached file with
    the same inode as ours was hard-linked from the cache by uv.
    """
    compiled = {}
    for source in Path(sysconfig.get_path("purelib")).rglob("*.py"):
        bytecode = Path(cache_from_source(source))
        if bytecode.exists():
            compiled[_identity(source)] = bytecode
    for source in (uv_cache / "archive-v0").rglob("*.py"):
        target = Path(cache_from_source(source))
        ours = compiled.get(_identity(source))
        if ours and not target.exists():
            with contextlib.suppress(OSError):  # created by a concurrent start
                target.parent.mkdir(exist_ok=True)
                os.link(ours, target)


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino
