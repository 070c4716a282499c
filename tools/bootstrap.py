"""Creates the development environment; called by bootstrap.sh. Standard library only."""

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
"""Shared with the simulated VMs, so that they do not download the same packages again."""
_INTERRUPTED = 130  # a shell's exit status after Ctrl-C


def main(home: Path, stamp: Path) -> int:
    """Create or update the environment `home`, then write `stamp`. Concurrent calls are serialized."""
    _STATE.mkdir(exist_ok=True)
    with (_STATE / "venv.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            # If this process is killed, its children continue, and hold the lock until they end.
            os.set_inheritable(held.fileno(), True)
            if not _is_current(stamp):
                _install(home, stamp)
        except subprocess.CalledProcessError as error:
            command = " ".join(map(str, error.cmd))
            print(f"Could not set up {home}: `{command}` failed (above).", file=sys.stderr)
            return 1
        except OSError as error:  # for example, the disk is full
            print(f"Could not set up {home}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(
                f"\nInterrupted. The next `make` starts the set-up of {home} again.",
                file=sys.stderr,
            )
            return _INTERRUPTED
    return 0


def _is_current(stamp: Path) -> bool:
    return stamp.exists() and _LOCK.stat().st_mtime <= stamp.stat().st_mtime


def _install(home: Path, stamp: Path) -> None:
    print(f"Setting up {home}. This happens once and takes a few minutes at most.", flush=True)
    python = home / "bin" / "python"
    # Without the stamp the installation was interrupted, and files may be incomplete.
    if not (stamp.exists() and _works(python)):
        venv.create(home, clear=True, symlinks=True)
        _install_pip(python)
    stamp.unlink(missing_ok=True)
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    client = ("--no-deps", "--no-build-isolation", "-e", str(_CLIENT))
    try:
        _run(*pip, "--require-hashes", "-r", str(_uv_lock()))
        uv = (str(home / "bin" / "uv"), "pip")
        _run(*uv, "sync", "--quiet", f"--python={python}", "--require-hashes", str(_LOCK))
        _run(*uv, "install", "--quiet", f"--python={python}", *client)
    except (OSError, subprocess.CalledProcessError):
        # uv is not available everywhere, and does not read pip's configuration (such as a mirror).
        print("uv failed. Installing with pip, which takes longer.", flush=True)
        _run(*pip, "--require-hashes", "-r", str(_LOCK))
        _run(*pip, *client)
    stamp.touch()
    print("Done.", flush=True)


def _install_pip(python: Path) -> None:
    """As `venv` would, with our lock. Its output is shown on failure only: Ctrl-C prints a traceback."""
    argv = (str(python), "-m", "ensurepip", "--default-pip")
    done = subprocess.run(argv, capture_output=True, text=True, check=False, close_fds=False)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise subprocess.CalledProcessError(done.returncode, argv)


def _uv_lock() -> Path:
    """A lock file for uv alone: pip accepts hashes only in files."""
    (entry,) = re.findall(r"^uv==.*\n(?: .*\n)+", _LOCK.read_text(), re.MULTILINE)
    file = _STATE / "requirements-uv.txt"
    file.write_text(entry)
    return file


def _works(python: Path) -> bool:
    """Whether this is a working environment of a supported Python, with pip."""
    test = "import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))"
    try:
        return (
            subprocess.run([python, "-c", test], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def _run(*argv: str) -> None:
    environment = {**os.environ, "UV_CACHE_DIR": str(_CACHE)}
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, close_fds=False, env=environment)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
