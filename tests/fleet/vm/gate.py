"""A way to PostgreSQL that can be shut, or fall silent, as networks do."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator


class Gate:
    """A TCP port in front of a server on this machine. It is open at first, or `shut`.

    With `tls`, clients of PostgreSQL get TLS, which our server is built without.
    """

    def __init__(self, port: int, *, shut: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
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

    def fall_silent(self) -> None:
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
                if self._tls:
                    try:
                        client = encrypted(client, self._tls)
                    except OSError:  # the client does not trust us
                        client.close()
                        continue
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


def encrypted(client: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """Accept PostgreSQL's SSLRequest (8 bytes). Raises OSError if the client gives up."""
    if client.recv(8, socket.MSG_WAITALL)[4:] != b"\x04\xd2\x16\x2f":
        raise OSError("no SSLRequest")
    client.sendall(b"S")
    return tls.wrap_socket(client, server_side=True)


@contextlib.contextmanager
def gate(port: int, *, shut: bool = False, tls: ssl.SSLContext | None = None) -> Iterator[Gate]:
    one = Gate(port, shut=shut, tls=tls)
    try:
        yield one
    finally:
        one.close()
