"""HTTP triggers: calls functions for requests, and maps errors to responses (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import azure.functions as func
from aiohttp import HttpVersion11, web
from multidict import MultiMapping

from local.functions.http.kestrel import rejection_status
from local.functions.http.keys import Keys
from local.functions.http.routing import Router, split_path
from local.functions.indexing import Function
from local.functions.invoke import FunctionTimeout, Invoker

_log = logging.getLogger(__name__)

_MAX_BODY = 104_857_600  # bytes
_HOME_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>Functions host</title></head>
<body><p>This functions app is up and running.</p></body></html>
"""

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FunctionsHandler:
    """Handles requests with the app's HTTP functions."""

    def __init__(self, router: Router, keys: Keys, invoker: Invoker) -> None:
        self._router, self._keys, self._invoker = router, keys, invoker

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Find the function, check the key, call it.

        Like the real host, errors have no body, and a known path with another method is a 404, also
        for HEAD (azure-functions-host#10098, #11625).
        """
        parts = split_path(request.raw_path.partition("?")[0])
        found = self._router.find(request.method, parts)
        if found is None:
            return self._host_page(parts, request)
        function, parameters = found
        level = str(function.trigger.get("authLevel", "FUNCTION")).upper()
        if not self._keys.allow(level, request, function.name):
            return web.Response(status=401)
        if (request.content_length or 0) > _MAX_BODY:
            return web.Response(status=500)
        return await self._call(function, parameters, request)

    def _host_page(self, parts: list[str], request: web.Request) -> web.Response:
        """The host's own pages: the home page and /admin/host/ping."""
        if not parts:
            return web.Response(body=_HOME_PAGE.encode(), content_type="text/html")
        if parts[0].lower() == "admin":
            if [part.lower() for part in parts[1:]] == ["host", "ping"]:
                return web.Response(headers={"Cache-Control": "no-store,no-cache"})
            self._keys.require("ADMIN", request)
        return web.Response(status=404)

    async def _call(
        self, function: Function, parameters: dict[str, str], request: web.Request
    ) -> web.StreamResponse:
        argument = func.HttpRequest(
            request.method,
            f"{request.scheme}://{request.host}{request.raw_path}",
            headers=_joined(request.headers),
            params={name: value for name, value in _joined(request.query).items() if value},
            route_params=parameters,
            # The host reads a body only if it has a length: a chunked one is dropped.
            body=await request.read() if request.content_length else b"",
        )
        try:
            response = _response(function, await self._invoker.call(function, argument))
        except FunctionTimeout as error:
            _log.error("%s", error)
            return web.Response(status=500)
        except Exception as error:
            _log.error("Function '%s' failed", function.name, exc_info=error)
            return web.Response(status=500)
        if request.version >= HttpVersion11:
            response.enable_chunked_encoding()  # like the host, which never sends a length
        return response


def make_application(
    functions: FunctionsHandler, *routes: Callable[[web.UrlDispatcher], None]
) -> web.Application:
    """The web application: `routes` add those of the host; functions handle all other paths."""
    application = web.Application(
        middlewares=[_middleware(functions)], client_max_size=_MAX_BODY + 1
    )
    for add in routes:
        add(application.router)
    return application


def problem(status: int, detail: str) -> web.Response:
    """An error response of type application/problem+json."""
    return web.json_response(
        {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        },
        status=status,
        content_type="application/problem+json",
    )


def _joined(values: MultiMapping[str]) -> dict[str, str]:
    """All values of a name joined into one, as the host passes them to functions."""
    return {name: ",".join(values.getall(name)) for name in values}


def _response(function: Function, result: Any) -> web.Response:
    if isinstance(result, str):
        return web.Response(text=result)
    if result is None:
        return web.Response(status=204)
    if not isinstance(result, func.HttpResponse):
        raise TypeError(
            f"function '{function.name}' returned {type(result).__name__}, "
            "must be an HttpResponse or a str"
        )
    response = web.Response(status=result.status_code, body=result.get_body())
    for name, value in result.headers.items():
        if name.lower() == "content-type":
            response.headers["Content-Type"] = value
        elif name.lower() != "content-length":
            response.headers.add(name, value)
    if "content-type" not in {name.lower() for name in result.headers.keys()}:  # noqa: SIM118
        response.headers["Content-Type"] = f"{result.mimetype}; charset={result.charset}"
    return response


def _middleware(functions: FunctionsHandler) -> Any:
    """Dispatch to the host's own API or to functions, and map errors of the host's API."""

    @web.middleware
    async def handle(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if (status := rejection_status(request)) is not None:
            return web.Response(status=status)
        if request.match_info.http_exception is not None:
            handler = functions.handle
        try:
            return await handler(request)
        except (web.HTTPUnauthorized, web.HTTPForbidden) as error:
            bearer = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
            return web.Response(status=error.status, headers=bearer)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return problem(error.status, error.reason)
        except ConnectionError:
            raise  # the client has disconnected
        except Exception as error:
            _log.error("A request of the host's own API failed", exc_info=error)
            return problem(500, "The host failed. Its log has the details.")

    return handle
