"""What Kestrel, the web server in front of the real host, takes and what it refuses.

Its refusals have no body. One differs: a request with both a length and chunks is read as chunked
there, and is a 400 here.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.http_parser import HttpRequestParserPy

_MAX_LINE = 8_192  # bytes
_MAX_HEADERS = 32_768  # bytes, all together
_MAX_HEADER_COUNT = 100
_PARSED = 2**20  # what the parser takes, bytes or headers: `refusal` knows the limits
_HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.~!$&'()*+,;=%-]+)(:\d+)?", re.ASCII)


def refusal(request: web.BaseRequest) -> int | None:
    """The status with which Kestrel refuses a request, None where it passes."""
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
        return 500  # not Kestrel, but the host, which needs it
    return None if _HOST.fullmatch(request.headers.get("Host", "")) else 400


class Runner(web.AppRunner):
    """Runs an application behind a server that parses requests as Kestrel does, or nearly."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **made._kwargs)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """aiohttp's, with its parser in Python, which takes any method in any case."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._parser = HttpRequestParserPy(
            self,
            options["loop"],
            max_line_size=_PARSED,
            max_field_size=_PARSED,
            max_headers=_PARSED,
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
