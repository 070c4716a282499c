from __future__ import annotations

import os
import shutil
import tempfile
from importlib.util import cache_from_source
from pathlib import Path

import psutil  # and has it compiled

from local.bytecode import lend_bytecode
from local.stack import REPOSITORY


def test_a_file_of_our_environment_is_lent_its_bytecode_and_a_copy_is_not() -> None:
    compiled = Path(psutil.__file__)
    # Beside the environment: a hard link leads nowhere else.
    with tempfile.TemporaryDirectory(dir=REPOSITORY / ".local") as cache:
        archive = Path(cache) / "archive-v0" / "psutil"
        archive.mkdir(parents=True)
        os.link(compiled, archive / "linked.py")
        shutil.copy2(compiled, archive / "copied.py")

        lend_bytecode(Path(cache))

        lent = {file.name for file in archive.glob("__pycache__/*")}
    assert lent == {Path(cache_from_source("linked.py")).name}
