"""Rejects the requests that Kestrel, the web server of the real host, rejects.

These responses have no body. One difference: Kestrel reads a request with both Content-Length and
chunks as chunked; here it is a 400.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import HttpRequestParserPy

_MAX_LINE = 8_192  # bytes
_MAX_HEADERS = 32_768  # bytes, all together
_MAX_HEADER_COUNT = 100
_PARSER_LIMIT = 2**20
"""Bytes or headers that the parser accepts; `rejection_status` applies Kestrel's limits."""
_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.~!$&'()*+,;=%-]+)(:\d+)?", re.ASCII)


def rejection_status(request: web.BaseRequest) -> int | None:
    """The status with which Kestrel rejects a request, or None."""
    target, fields = request.raw_path, request.raw_headers
    if len(f"{request.method} {target} HTTP/1.1\r\n") > _MAX_LINE:
        return 414
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in fields)
    if size > _MAX_HEADERS or len(fields) > _MAX_HEADER_COUNT:
        return 431
    path = target.partition("?")[0]
    form = request.method == "OPTIONS" and path == "*"
    if not target.isascii() or "%00" in path or not (form or path.startswith("/")):
        return 400
    try:
        b"\n".join(value for _, value in fields).decode()
    except UnicodeDecodeError:
        return 400
    if request.version < HttpVersion11 and "Host" not in request.headers:
        return 500  # from the host, not from Kestrel
    return None if _HOST.fullmatch(request.headers.get("Host", "")) else 400


class Runner(web.AppRunner):
    """Runs an application on a server that parses requests nearly as Kestrel does."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **made._kwargs)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """aiohttp's, with its pure Python parser, which accepts any method."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._parser = HttpRequestParserPy(
            self,
            options["loop"],
            max_line_size=_PARSER_LIMIT,
            max_field_size=_PARSER_LIMIT,
            max_headers=_PARSER_LIMIT,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,
        )

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, *rest: Any, **more: Any
    ) -> web.StreamResponse:
        super().handle_error(request, status, *rest, **more)  # logs it
        response = web.Response(status=status)
        response.force_close()
        return response
