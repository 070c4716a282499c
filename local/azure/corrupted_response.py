"""Sends responses as a proxy or a broken connection corrupts them."""

from __future__ import annotations

from aiohttp import web

_HTML = b"<html><head><title>Sign in</title></head><body>Sign in to use this network.</body></html>"

_JSON = {"Content-Type": "application/json"}

GARBLED: dict[str, tuple[int, dict[str, str], bytes]] = {
    "html": (200, {"Content-Type": "text/html"}, _HTML),
    "html404": (404, {"Content-Type": "text/html"}, _HTML),
    "gzip": (200, {**_JSON, "Content-Encoding": "gzip"}, b'{"not": "gzip"}'),
    "json": (200, _JSON, b'{"properties": {"provision'),
    "text": (200, _JSON, b'"OK"'),
    "empty": (200, _JSON, b""),
}
"""Kind of garbled response -> its status, headers and body."""


def garbled(kind: str) -> web.Response:
    """A response with a body that Azure never sends."""
    status, headers, body = GARBLED[kind]
    return web.Response(status=status, headers=headers, body=body)


async def send_cut(http: web.Request, response: web.Response, length: int) -> web.StreamResponse:
    """Send the headers and the first `length` bytes of the body, at most all but one, and close.

    A response without a body cannot be cut, so it is lost.
    """
    body = response.body if isinstance(response.body, bytes) else b""
    if http.transport is None or not body:
        abort(http)
        return response
    cut = web.StreamResponse(status=response.status, headers=response.headers)
    cut.content_length = len(body)
    await cut.prepare(http)
    await cut.write(body[: min(length, len(body) - 1)])
    http.transport.close()  # sends what is buffered
    return cut


def abort(http: web.Request) -> None:
    """Close the connection without a response."""
    if http.transport is not None:
        http.transport.abort()
