"""Fills the virtual environment of development; called by bootstrap.sh. Standard library only."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parent.parent
_LOCK = _REPOSITORY / "requirements-dev.txt"
_CLIENT = _REPOSITORY / "client"
_STATE = _REPOSITORY / ".local"
_CACHE = _STATE / "cache" / "uv"
"""Shared with the simulated VMs, which then need not download the same packages again."""
_INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C


def main(home: Path, stamp: Path) -> int:
    """Make or update the environment `home`, then write `stamp`. Two at once take turns."""
    _STATE.mkdir(exist_ok=True)
    with (_STATE / "venv.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not _fresh(stamp):
                _install(home, stamp)
        except subprocess.CalledProcessError as error:
            command = " ".join(map(str, error.cmd))
            print(f"Could not set up {home}: `{command}` failed (above).", file=sys.stderr)
            return 1
        except OSError as error:  # the disk is full, say
            print(f"Could not set up {home}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\nInterrupted. The next `make` sets up {home} anew.", file=sys.stderr)
            return _INTERRUPTED
    return 0


def _fresh(stamp: Path) -> bool:
    return stamp.exists() and _LOCK.stat().st_mtime <= stamp.stat().st_mtime


def _install(home: Path, stamp: Path) -> None:
    print(f"Setting up {home}; this happens once, and takes some minutes at most.", flush=True)
    python = home / "bin" / "python"
    # Without its stamp an environment was cut short: a file of it may be there in part.
    if not (stamp.exists() and _works(python)):
        venv.create(home, clear=True, symlinks=True, with_pip=True)
    stamp.unlink(missing_ok=True)
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    client = ("--no-deps", "--no-build-isolation", "-e", str(_CLIENT))
    try:
        _run(*pip, "--require-hashes", "-r", str(_lock_of_uv()))
        uv = (str(home / "bin" / "uv"), "pip")
        _run(*uv, "sync", "--quiet", f"--python={python}", "--require-hashes", str(_LOCK))
        _run(*uv, "install", "--quiet", f"--python={python}", *client)
    except (OSError, subprocess.CalledProcessError):
        # uv is not everywhere, and does not read pip's configuration (a company's mirror, say).
        print("uv could not install everything; with pip then, which takes longer.", flush=True)
        _run(*pip, "--require-hashes", "-r", str(_LOCK))
        _run(*pip, *client)
    stamp.touch()
    print("Done.", flush=True)


def _lock_of_uv() -> Path:
    """A file with the lock's entry for uv alone: pip takes hashes from files only."""
    (entry,) = re.findall(r"^uv==.*\n(?: .*\n)+", _LOCK.read_text(), re.MULTILINE)
    file = _STATE / "requirements-uv.txt"
    file.write_text(entry)
    return file


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
