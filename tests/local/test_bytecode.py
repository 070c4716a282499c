from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import cache_from_source
from pathlib import Path

import psutil  # which also compiles it

from local.bytecode import share_bytecode
from local.stack import REPOSITORY


def test_hard_links_share_bytecode_and_copies_do_not() -> None:
    compiled = Path(psutil.__file__)
    # On the file system of the environment, since hard links cannot cross file systems.
    with tempfile.TemporaryDirectory(dir=REPOSITORY / ".local") as cache:
        archive = Path(cache) / "archive-v0" / "psutil"
        archive.mkdir(parents=True)
        os.link(compiled, archive / "linked.py")
        shutil.copy2(compiled, archive / "copied.py")

        share_bytecode(Path(cache))

        shared = {file.name for file in archive.glob("__pycache__/*")}
    assert shared == {Path(cache_from_source("linked.py")).name}
