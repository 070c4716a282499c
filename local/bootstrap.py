"""Fills the virtual environment of development; called by bootstrap.sh. Standard library only."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent
_REQUIREMENTS = (_REPOSITORY / "requirements.txt", _REPOSITORY / "requirements-dev.txt")
_CACHE = _REPOSITORY / ".local" / "cache" / "uv"
"""Shared with the simulated VMs, which then need not download the same packages again."""


def main(venv: Path, stamp: Path) -> int:
    """Make or complete `venv`, then write `stamp`. Two at once: the second waits, and finds it done."""
    lock = _REPOSITORY / ".local" / "venv.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if _fresh(stamp):
            return 0
        try:
            _install(venv)
        except subprocess.CalledProcessError as error:
            command = " ".join(map(str, error.cmd))
            print(f"Could not set up {venv}: `{command}` failed (above).", file=sys.stderr)
            return 1
        stamp.touch()
    return 0


def _fresh(stamp: Path) -> bool:
    return stamp.exists() and all(
        file.stat().st_mtime <= stamp.stat().st_mtime for file in _REQUIREMENTS
    )


def _install(venv: Path) -> None:
    print(f"Setting up {venv}; this happens once, and takes some minutes at most.", flush=True)
    python = venv / "bin" / "python"
    if not _works(python):
        _run(sys.executable, "-m", "venv", "--clear", str(venv))
    wanted = ("-r", str(_REQUIREMENTS[1]))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    try:
        _run(*pip, "uv")
        _run(str(venv / "bin" / "uv"), "pip", "install", "--quiet", f"--python={python}", *wanted)
    except subprocess.CalledProcessError:
        # uv is not everywhere, and does not read pip's configuration (a company's mirror, say).
        print("uv could not install everything; with pip then, which takes longer.", flush=True)
        _run(*pip, *wanted)
    print("Done.", flush=True)


def _works(python: Path) -> bool:
    """Whether there is an environment of a Python that will do, with pip; half of one is not."""
    test = "import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))"
    try:
        return (
            subprocess.run([python, "-c", test], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, env={**os.environ, "UV_CACHE_DIR": str(_CACHE)})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
