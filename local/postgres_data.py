"""The place of PostgreSQL's data: as root, the server's user may not reach the state directory."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
from pathlib import Path

import psutil

from local.process import ServiceError

SERVER_USER = "nobody"
"""The user of the server if we are root, since PostgreSQL refuses to run as root. It exists on every
system."""
DATA = "data"
_POINTER = "scratch"
"""Names the temporary directory that contains the data, for the next start after a crash."""


class DataHome:
    """The directory that contains `data`.

    As root, if other users cannot access `state_dir`, the data are in a temporary directory while the
    server runs, and `close` moves them back. After a crash, the next `open` finds them there.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._pointer = state_dir / _POINTER
        self._closing = threading.Lock()
        self.path = state_dir

    def open(self) -> Path:
        """The directory for the server. `data` may be missing. Raises ServiceError."""
        self.close()
        _drop_stale_pid(self._state_dir / DATA / "postmaster.pid")
        if os.geteuid() == 0 and not is_accessible(self._state_dir):
            scratch = _scratch_dir()
            self._pointer.write_text(str(scratch))
            _move(self._state_dir / DATA, scratch / DATA)
            self.path = scratch
        give_to_server(self.path / DATA)
        return self.path

    def close(self) -> None:
        """Move the data to the state directory, also those of a server that crashed. Idempotent.

        The server must not run.
        """
        with self._closing:
            scratch = scratch_of(self._state_dir)
            if scratch is not None:
                if not (self._state_dir / DATA).exists():
                    _move(scratch / DATA, self._state_dir / DATA)
                shutil.rmtree(scratch, ignore_errors=True)
            self._pointer.unlink(missing_ok=True)
            self.path = self._state_dir


def scratch_of(state_dir: Path) -> Path | None:
    """The temporary directory with the data of a server that runs or has crashed."""
    with contextlib.suppress(OSError):
        scratch = Path((state_dir / _POINTER).read_text())
        # After a reboot, another user may have created a directory of this name.
        if scratch.is_dir() and not scratch.is_symlink() and scratch.stat().st_uid == os.geteuid():
            return scratch
    return None


def is_accessible(path: Path) -> bool:
    """Whether all users can access the directory and its parents."""
    return all(directory.stat().st_mode & 0o001 for directory in (path, *path.parents))


def _scratch_dir() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 (mkdtemp makes it safe)
        if Path(parent).is_dir() and is_accessible(Path(parent).resolve()):
            directory = Path(tempfile.mkdtemp(prefix="powerlift-postgres-", dir=parent)).resolve()
            directory.chmod(0o711)
            return directory
    raise ServiceError(
        f"As root, PostgreSQL runs as user {SERVER_USER}, which cannot access a temporary directory. "
        "Set TMPDIR to a directory that all users can access, or start as another user."
    )


def _move(source: Path, target: Path) -> None:
    """Move a directory, if it exists, also between file systems.

    After a crash, `target` does not exist or is complete, and so is `source`.
    """
    try:
        source.rename(target)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial, moved = target.with_name(f"{DATA}.part"), source.with_name(f"{DATA}.moved")
        for leftover in (partial, moved):
            shutil.rmtree(leftover, ignore_errors=True)
        shutil.copytree(source, partial, symlinks=True)
        partial.rename(target)
        source.rename(moved)
        shutil.rmtree(moved)


def _drop_stale_pid(file: Path) -> None:
    """After a crash, a zombie or another program may have the server's process ID: PostgreSQL would not
    start."""
    with contextlib.suppress(FileNotFoundError, ValueError, psutil.Error):
        process = psutil.Process(int(file.read_text().partition("\n")[0]))
        if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE:
            return
    file.unlink(missing_ok=True)


def give_to_server(data: Path) -> None:
    if os.geteuid() == 0 and data.exists():
        for path in (data, *data.rglob("*")):
            shutil.chown(path, SERVER_USER)
