"""A TCP proxy for PostgreSQL that can be closed or stall, as networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Gate:
    """A TCP port in front of a server on this machine. It is open at first, or `shut`."""

    def __init__(self, port: int, *, shut: bool = False) -> None:
        self._server = ("127.0.0.1", port)
        self._speaks = threading.Event()
        self._speaks.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))  # without listen(), connections are refused
        self.port: int = self._listener.getsockname()[1]
        if not shut:
            self.open()

    def open(self) -> None:
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def stall(self) -> None:
        """Accept all connections and data, and forward nothing."""
        self._speaks.clear()

    def close(self) -> None:
        self._speaks.set()
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._speaks.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def gate(port: int, *, shut: bool = False) -> Iterator[Gate]:
    one = Gate(port, shut=shut)
    try:
        yield one
    finally:
        one.close()
