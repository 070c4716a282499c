"""Database servers that accept connections and then do not respond."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


@contextmanager
def silent_server(greeting: bytes = b"") -> Iterator[str]:
    """The address, HOST:PORT, of a server that sends `greeting` after the first bytes, and no more."""
    clients: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # closed
                while True:
                    client, _ = server.accept()
                    clients.append(client)
                    if greeting:
                        client.recv(1024)
                        client.sendall(greeting)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for client in clients:
        client.close()


class Relay:
    """A server that forwards to the one of a database URI, until it stalls.

    A context manager. `uri` is the database behind it.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._target = parts.hostname or "", parts.port or 5432
        self._server = socket.create_server(("127.0.0.1", 0))
        login, _, _ = parts.netloc.rpartition("@")
        place = f"{login}@127.0.0.1:{self._server.getsockname()[1]}"
        self.uri = urlunsplit(parts._replace(netloc=place))
        self._flows, self._answers = threading.Event(), threading.Event()
        self._flows.set()
        self._answers.set()
        self.received = 0
        """Bytes that the database has sent."""
        self.left = threading.Event()
        """Set when a client has closed its connection."""

    def stall(self) -> None:
        """Stop forwarding, and keep all connections open."""
        self._flows.clear()

    def stall_after_login(self) -> None:
        """Forward logins, and stop forwarding at the first query."""
        self._answers.clear()

    def resume(self) -> None:
        self._flows.set()
        self._answers.set()

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                target = socket.create_connection(self._target)
                for way in ((client, target, self.left), (target, client, threading.Event())):
                    threading.Thread(target=self._forward, args=way, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, ended: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if data.startswith(b"Q"):  # a query; logins begin with a length or a `p`
                    self._answers.wait()
                if ended is not self.left:
                    self.received += len(data)
                sink.sendall(data)
        ended.set()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_relay(target: tuple[str, int], certificate: str) -> Iterator[int]:
    """The port of a server that has the certificate in a PEM file, and forwards to a PostgreSQL.

    Terminates TLS, because the PostgreSQL of the wheel is built without TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve() -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = server.accept()
                threading.Thread(target=_terminate, args=(client, context, target)).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


def _terminate(client: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    with suppress(OSError), client:  # including a client that rejects the certificate
        client.recv(8)  # PostgreSQL's request for TLS
        client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as secure,
            socket.create_connection(target) as plain,
        ):
            while True:
                # One thread for both ways, because an SSL object is for one thread.
                ready = [secure] if secure.pending() else select.select([secure, plain], [], [])[0]
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    (plain if source is secure else secure).sendall(data)
