"""Runs the command in a pseudoterminal and emulates its screen."""

from __future__ import annotations

import copy
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
from typing import Any, Self

import pyte

_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Ctrl-C only signals the session that the terminal controls."""


class _Screen(pyte.Screen):
    """pyte lacks the alternate screen."""

    _main: Any = None

    def set_mode(self, *modes: int, **more: Any) -> None:
        super().set_mode(*modes, **more)
        if more.get("private") and 1049 in modes:
            self._main = copy.deepcopy((self.buffer, self.cursor))
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **more: Any) -> None:
        super().reset_mode(*modes, **more)
        if more.get("private") and 1049 in modes and self._main is not None:
            self.buffer, self.cursor = self._main
            self._main = None


class Terminal:
    """A Python program in a terminal. The context manager kills it on exit. `raw`: all of its output."""

    def __init__(self, *argv: str, env: dict[str, str], columns: int = 80, lines: int = 24) -> None:
        self.raw = b""
        self._screen = _Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._fd, terminal = pty.openpty()
        self._size(columns, lines)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *argv],
            env={**env, "TERM": "xterm-256color"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """The screen, without trailing blanks."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Resize the window; the contents are cut."""
        with self._lock:
            self._screen.resize(lines, columns)
            self._size(columns, lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._fd)

    def wait(self, timeout: float) -> int:
        """The exit code, once the screen has all of the output."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            select.select([self._fd], [], [])
            try:
                read = os.read(self._fd, 65536)
            except OSError:  # end of file on Linux
                return
            if not read:
                return
            with self._lock:
                self.raw += read
                self._stream.feed(read)
