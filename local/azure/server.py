"""The HTTPS server on the loopback address: dispatches requests to Entra ID, blobs, prices or ARM."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from local.azure.arm.calls import Reply, Request
from local.azure.arm.router import Router
from local.azure.clock import Clock
from local.azure.compute.boot_diagnostics import BootDiagnostics
from local.azure.corrupted_response import abort, garbled, send_cut
from local.azure.identity.entra import Entra
from local.azure.retail_prices import RetailPrices
from local.azure.tls import Certificates
from local.azure.wire_log import WireLog

_MAX_BODY = 4 * 1024**2  # ARM's own limit
_CLOSE_TIMEOUT = 1.0


class Server:
    """Serves everything that clients use on one port."""

    def __init__(
        self,
        clock: Clock,
        entra: Entra,
        diagnostics: BootDiagnostics,
        prices: RetailPrices,
        router: Router,
        log: WireLog,
    ) -> None:
        self._clock, self._entra, self._router, self._log = clock, entra, router, log
        self._diagnostics, self._prices = diagnostics, prices
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """`https://127.0.0.1:{port}`, once the server listens."""
        return f"https://127.0.0.1:{self._port}"

    async def start(self, port: int, certificates: Certificates) -> None:
        """Start listening; port 0 picks a free one."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_TIMEOUT)
        await self._runner.setup()
        context = certificates.server_context()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, and close open connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        number, at = self._log.number(), self._clock.now()
        request = await _read(http)
        reply = (
            await self._entra.handle(request)
            or await self._diagnostics.handle_blob(request)
            or await self._prices.handle(request)
            or await self._router.handle(request)
        )
        self._log.write(number, request, reply, at=at, answered=self._clock.now())
        effects = request.effects
        response = garbled(effects.garbled) if effects.garbled else _response(reply)
        if effects.lost:
            abort(http)
        elif effects.cut is not None:
            return await send_cut(http, response, effects.cut)
        return response


async def _read(http: web.Request) -> Request:
    text = await http.read()
    body: Any = None
    malformed = None
    if http.content_type == "application/x-www-form-urlencoded":
        body = dict(await http.post())
    elif text:
        try:
            body = json.loads(text)
        except ValueError as error:
            malformed = str(error)
    return Request(
        method=http.method,
        path=http.path,
        query=dict(http.query),
        headers={name.lower(): value for name, value in http.headers.items()},
        body=body,
        malformed=malformed,
        base=f"https://{http.host}",
    )


def _response(reply: Reply) -> web.Response:
    if reply.body is None or isinstance(reply.body, bytes):
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
    return web.json_response(reply.body, status=reply.status, headers=reply.headers)
