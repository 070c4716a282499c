"""A PgBouncer in transaction mode: the one on PATH, or the one in Debian's package."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from local.process import end_with_parent, free_port, log_tail
from local.stack import CACHE

LIBRARIES = ("libc-ares2", "libevent-2.1-7", "libevent-2.1-7t64")
"""Packages of what PgBouncer is linked with, in several releases of Debian and Ubuntu."""
_UNPACK = """
    apt-get -q download pgbouncer || exit
    for library; do apt-get -q download "$library"; done
    for package in *.deb; do dpkg -x "$package" root || exit; done
"""
POOL_SIZE = 2


class Unavailable(Exception):
    """There is no PgBouncer here, and Debian's cannot be had. The text says why."""


@contextlib.contextmanager
def pgbouncer(uri: str) -> Iterator[str]:
    """Serve the database of a URI in transaction mode, with two connections; yield the URI to use.

    Other settings are PgBouncer's defaults. Raises Unavailable.
    """
    program = _program()
    server, port = urlsplit(uri), free_port(0)
    # PgBouncer refuses to run as root, and another user cannot access pytest's directories.
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    try:
        for file in program.iterdir():
            shutil.copy(file, folder)
        (folder / "users").write_text(f'"{server.username}" "{unquote(server.password or "")}"\n')
        (folder / "config").write_text(
            f"""[databases]
* = host={server.hostname} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {POOL_SIZE}
"""
        )
        other: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            other = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [folder / "pgbouncer", folder / "config"], cwd=folder,
                env={"LD_LIBRARY_PATH": str(folder)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=end_with_parent(), **other,
            )  # fmt: skip
        try:
            _await(process, port, folder / "log")
            yield uri.replace(f":{server.port}/", f":{port}/")
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder)


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer does not listen.{log_tail(log)}") from None
            time.sleep(0.02)


def _program() -> Path:
    """A directory with the program `pgbouncer` and those of its libraries that a system may lack."""
    cached = CACHE / "pgbouncer"
    if not cached.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch, "made")
            made.mkdir()
            for file in _files(Path(scratch)):
                shutil.copy(file, made)
            with contextlib.suppress(OSError):  # another process was faster
                made.rename(cached)
    return cached


def _files(scratch: Path) -> list[Path]:
    installed = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if installed:
        return [Path(installed)]
    argv = ["sh", "-c", _UNPACK, "sh", *LIBRARIES]
    try:
        subprocess.run(argv, cwd=scratch, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"no pgbouncer on PATH, and no package: {error}") from None
    root = scratch / "root" / "usr"
    return [root / "sbin" / "pgbouncer", *root.glob("lib/*/*.so.*")]
